// One event in full: its facts, what is wrong with it, its payload.
const panel = document.getElementById("panel");
let origin = null; // where the focus goes back to

function openPanel(from, { focus = false } = {}) {
  if (state.current < 0) return;
  if (panel.hidden) origin = from;
  panel.hidden = false;
  document.body.classList.add("open");
  fillPanel();
  if (focus) document.getElementById("panel-title").focus();
}

function closePanel() {
  if (panel.hidden) return;
  const inside = panel.contains(document.activeElement);
  panel.hidden = true;
  document.body.classList.remove("open");
  if (inside) (origin ?? board).focus();
  redraw();
}

function fillPanel() {
  const event = events[state.current];
  const before = previousOf(state.current);
  const facts = [
    ["Record", String(event.i)],
    ["Time", `${seconds(event.t, 6)} after the first record`],
    ["After", afterWords(event, before)],
    ["Connection", event.c],
    ["User", event.lane?.sub ?? ""],
    ["Direction", event.k === "event" ? (event.s ? "sent by the client" : "received") : ""],
    ["Size", bytes(event.z)],
    ["Note", event.o ?? ""],
  ];
  const dl = el("dl");
  for (const [name, value] of facts) if (value) dl.append(el("dt", {}, name), el("dd", {}, value));
  for (const lane of event.calls) dl.append(el("dt", {}, lane.pair), el("dd", {}, callWords(lane, event)));
  panel.replaceChildren(
    el(
      "div",
      { className: `head ${colour(event.n)}` },
      el("h2", { id: "panel-title", tabIndex: -1 }, el("i"), nameOf(event)),
      button("Close", closePanel, "Close (Escape)"),
    ),
    el(
      "div",
      { className: "body" },
      ...event.violations.map(trouble),
      event.w ? el("p", { className: "said" }, event.w) : null,
      dl,
      ...payload(event),
    ),
    el("div", { className: "foot" }, button("‹ Previous", () => step(-1)), button("Next ›", () => step(1)), button("Show on timeline", showOnBoard)),
  );
}

function afterWords(event, before) {
  if (before < 0) return report.part && event.gaps ? "records that are not on this page" : "nothing on this connection";
  if (events[before].gaps !== event.gaps) return "records that are not on this page";
  return `${lasting(event.t - events[before].t)}, ${nameOf(events[before])}`;
}

function callWords(lane, event) {
  if (lane.open === undefined) return `${lane.sub}: never began`;
  if (lane.close === undefined) return `${lane.sub}: never ended`;
  const other = event.i === lane.open ? `ended by record ${lane.close}` : `begun by record ${lane.open}`;
  return `${lane.sub}: ${lasting(lane.to - lane.from)}, ${other}`;
}

function trouble(number) {
  const violation = violations[number];
  return el(
    "div",
    { className: `trouble ${violation.definite ? "" : "unsure"}` },
    el("b", {}, violation.message),
    el("div", {}, `Expected: ${violation.expected}`),
    el("div", {}, `Hint: ${violation.hint}`),
    violation.pointer ? el("div", {}, "at ", el("code", {}, violation.pointer)) : null,
  );
}

function payload(event) {
  if (event.p === undefined) return [el("p", { className: "empty" }, "The payload is left out to keep the page small; the recording has it.")];
  const pre = el("pre", { tabIndex: 0, id: "payload", role: "region", "aria-label": "Payload" });
  pre.append(...highlighted(event.p));
  const copy = button("Copy", () => copyText(event.p, pre, copy));
  const cut = event.x ? el("p", { className: "notice" }, `Cut after ${event.p.length.toLocaleString("en")} of ${event.x.toLocaleString("en")} characters; the recording has all of it.`) : null;
  return [el("p", { className: "payload" }, "Payload", copy), cut, pre].filter(Boolean);
}

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;

function highlighted(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(TOKEN)) {
    if (match.index > end) parts.push(text.slice(end, match.index));
    const kind = match[1] ? (match[2] ? "key" : "string") : match[3] ? "literal" : "numeral";
    parts.push(el("span", { className: kind }, match[1] ?? match[0]));
    if (match[2]) parts.push(match[2]);
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}

async function copyText(text, pre, copy) {
  try {
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(pre);
    copy.textContent = "Selected";
  }
}

function button(text, action, title = "") {
  const element = el("button", { type: "button", className: "quiet", title }, text);
  element.addEventListener("click", action);
  return element;
}
