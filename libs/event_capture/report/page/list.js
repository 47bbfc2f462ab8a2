// All events as lines. Only the lines in view are elements of the page.
const list = document.getElementById("list");
const LINE = 32;
const HEADS = [["Record", "figure"], ["Time", "figure"], ["After", "figure"], ["Way", ""], ["Connection", ""], ["Event", ""], ["Words", ""], ["Size", "figure"]];
const rows = el("div", { className: "rows", role: "rowgroup" });
list.append(
  el("div", { className: "line head", role: "row" }, ...HEADS.map(([text, kind]) => el("span", { className: kind, role: "columnheader" }, text))),
  rows,
);
let listed = [];

function relist() {
  listed = order.filter((place) => shows(place) && matches(place));
  rows.style.height = `${listed.length * LINE}px`;
  list.setAttribute("aria-rowcount", listed.length + 1);
  const all = events.length;
  document.getElementById("list-count").textContent =
    listed.length === all ? all.toLocaleString("en") : `${listed.length.toLocaleString("en")} of ${all.toLocaleString("en")}`;
  drawList();
}

function drawList() {
  const first = Math.max(0, Math.floor(list.scrollTop / LINE) - 6);
  const last = Math.min(listed.length, Math.ceil((list.scrollTop + list.clientHeight) / LINE) + 6);
  const lines = [];
  for (let position = first; position < last; position += 1) lines.push(line(listed[position], position));
  if (!listed.length) lines.push(el("p", { className: "empty" }, "No event matches."));
  rows.replaceChildren(...lines);
  const chosen = state.current >= 0 ? document.getElementById(`line-${events[state.current].i}`) : null;
  if (chosen) list.setAttribute("aria-activedescendant", chosen.id);
  else list.removeAttribute("aria-activedescendant");
}

function line(place, position) {
  const event = events[place];
  const cell = (className, ...children) => el("span", { className, role: "gridcell" }, ...children);
  const row = el(
    "div",
    { className: `line ${event.violations.length ? "broken" : ""}`, role: "row", id: `line-${event.i}`, "aria-rowindex": position + 2 },
    cell("figure", String(event.i)),
    cell("figure", seconds(event.t)),
    cell("figure", sincePrevious(place, "+")),
    cell("", event.s ? "→" : ""),
    cell("", event.c),
    cell(`what ${colour(event.n)}`, el("i"), el("span", {}, nameOf(event))),
    cell("words", event.w || event.o || ""),
    cell("figure", bytes(event.z)),
  );
  row.setAttribute("aria-selected", place === state.current);
  if (event.violations.length) row.title = event.violations.slice(0, 3).map((number) => violations[number].message).join("\n");
  row.dataset.place = place;
  row.style.top = `${position * LINE}px`;
  return row;
}

// The event before this one on its connection.
function previousOf(place) {
  const lane = events[place].lane;
  if (!lane) return -1;
  lane.positions ??= new Map(lane.events.map((one, position) => [one, position]));
  return lane.events[lane.positions.get(place) - 1] ?? -1;
}

// How long after the event before it; unknown when the page leaves out what came between.
function sincePrevious(place, sign = "") {
  const before = previousOf(place);
  if (before < 0) return "";
  if (events[before].gaps !== events[place].gaps) return "…";
  return `${sign}${lasting(events[place].t - events[before].t)}`;
}

function revealLine(place) {
  const position = listed.indexOf(place);
  if (position < 0) return;
  const top = position * LINE;
  const free = list.clientHeight - LINE;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + LINE > list.scrollTop + free) list.scrollTop = top + LINE - free;
}

list.addEventListener("scroll", () => requestAnimationFrame(drawList), { passive: true });
