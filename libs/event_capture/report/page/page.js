// What people do with the page: choose, search, zoom, move, by hand and by keyboard.
const field = document.getElementById("search");
const found = document.getElementById("found");

function choose(place, { from = null, open = false, focus = false, scroll = true } = {}) {
  if (place === undefined || place < 0) return;
  state.current = place;
  if (scroll) reveal(place);
  revealLine(place);
  if (open) openPanel(from, { focus });
  else if (!panel.hidden) fillPanel();
  draw();
  drawList();
  say(spoken(place));
}

function step(by, among = order) {
  const visible = among.filter((place) => shows(place) && matches(place));
  if (!visible.length) return;
  const here = visible.indexOf(state.current);
  if (here < 0) return choose(nearest(visible, by));
  choose(visible[Math.min(visible.length - 1, Math.max(0, here + by))]);
}

function nearest(places, by) {
  if (state.current < 0) return places[by < 0 ? places.length - 1 : 0];
  const time = events[state.current].t;
  return places.reduce((best, place) => (Math.abs(events[place].t - time) < Math.abs(events[best].t - time) ? place : best));
}

function changeLane(by) {
  if (state.current < 0) return step(1);
  const all = [...wires.values()].filter((lane) => lane.events.some((place) => shows(place) && matches(place)));
  const here = all.indexOf(events[state.current].lane);
  const lane = all[here + by];
  if (lane) choose(nearest(lane.events.filter((place) => shows(place) && matches(place)), 1));
}

function laneEvents() {
  return state.current >= 0 && events[state.current].lane ? events[state.current].lane.events : order;
}

// Violations

let chosenViolation = -1;
const reachable = violations.map((_, number) => number).filter((number) => violations[number].place >= 0);
reachable.sort((one, other) => rank.get(violations[one].place) - rank.get(violations[other].place) || one - other);

function stepViolation(by) {
  if (!reachable.length) return say("No violation to show");
  const here = reachable.indexOf(chosenViolation);
  const next = here < 0 ? (by > 0 ? 0 : reachable.length - 1) : (here + by + reachable.length) % reachable.length;
  showViolation(reachable[next]);
}

function showViolation(number, { open = false } = {}) {
  chosenViolation = number;
  for (const card of document.querySelectorAll(".violation.chosen")) card.classList.remove("chosen");
  const card = document.getElementById(`violation-${number}`);
  if (card) {
    card.classList.add("chosen");
    const folded = card.closest("details");
    if (folded) folded.open = true;
    const box = document.getElementById("violation-list");
    box.scrollTop += card.getBoundingClientRect().top - box.getBoundingClientRect().top - 40;
  }
  const { place } = violations[number];
  if (place >= 0) {
    state.hidden.delete(events[place].n);
    drawLegend();
    choose(place, { open, from: board });
  }
  say(violations[number].message);
}

function showOnBoard() {
  reveal(state.current);
  board.scrollIntoView({ block: "center" });
  board.focus({ preventScroll: true });
}

// Search

function haystack(event) {
  event.text ??= [nameOf(event), event.w, event.c, event.lane?.sub, event.o, event.p, ...event.violations.map((number) => violations[number].code)]
    .filter(Boolean)
    .join("\n")
    .toLowerCase();
  return event.text;
}

function search() {
  const query = field.value.trim().toLowerCase();
  state.query = query;
  state.matches = query ? new Set(order.filter((place) => haystack(events[place]).includes(query))) : null;
  const count = state.matches?.size ?? 0;
  found.textContent = query ? `${count.toLocaleString("en")} of ${events.length.toLocaleString("en")} events match` : "";
  list.scrollTop = 0;
  relist();
  redraw();
}

field.addEventListener("input", search);
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    event.preventDefault();
    step(event.shiftKey ? -1 : 1);
  } else if (event.key === "Escape" && field.value) {
    event.stopPropagation();
    field.value = "";
    search();
  } else if (event.key === "ArrowDown") {
    event.preventDefault();
    board.focus();
    if (state.current < 0 || !matches(state.current)) step(1);
  }
});

// Legend

function drawLegend() {
  const legend = document.getElementById("legend");
  const focused = legend.contains(document.activeElement) ? document.activeElement.dataset.name : null;
  const shown = frequent.slice(0, 24).sort((one, other) => report.names[one].life - report.names[other].life || one - other);
  const buttons = shown.map((name) => {
    const item = report.names[name];
    const chip = el("button", { type: "button", className: colour(name) }, el("i"), el("span", {}, item.name), el("b", {}, item.count.toLocaleString("en")));
    chip.setAttribute("aria-pressed", !state.hidden.has(name));
    chip.dataset.name = name;
    return chip;
  });
  if (frequent.length > shown.length) buttons.push(el("span", { className: "muted" }, `and ${frequent.length - shown.length} more names`));
  legend.replaceChildren(...buttons);
  if (focused !== null) legend.querySelector(`[data-name="${focused}"]`)?.focus();
}

document.getElementById("legend").addEventListener("click", (event) => {
  const chip = event.target.closest("[data-name]");
  if (!chip) return;
  const name = Number(chip.dataset.name);
  if (!state.hidden.delete(name)) state.hidden.add(name);
  drawLegend();
  relist();
  redraw();
});

// Theme

const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";

function labelTheme() {
  document.getElementById("theme").setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
}

document.getElementById("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  labelTheme();
});
dark.addEventListener("change", labelTheme);

// The pointer

let drag = null;

board.addEventListener("click", (event) => {
  if (drag?.moved) return;
  const target = event.target.closest("[data-place],[data-violation],[data-from]");
  if (!target) return;
  if (target.dataset.violation !== undefined) showViolation(Number(target.dataset.violation), { open: true });
  else if (target.dataset.place !== undefined) choose(Number(target.dataset.place), { from: board, open: true, scroll: false });
  else {
    const from = Number(target.dataset.from);
    const to = Number(target.dataset.to);
    const room = Math.max((to - from) * 0.6, SHORTEST);
    setView(from - room, to + room);
  }
});
board.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || event.offsetX > board.clientWidth) return;
  drag = { x: event.clientX, from: state.from, to: state.to, moved: false, id: event.pointerId };
});
board.addEventListener("pointermove", (event) => {
  if (drag && event.buttons) {
    const moved = event.clientX - drag.x;
    if (!drag.moved && Math.abs(moved) < 4) return;
    if (!drag.moved) board.setPointerCapture(drag.id);
    drag.moved = true;
    board.classList.add("dragging");
    const by = (moved / (width - gutter - RIGHT)) * (drag.to - drag.from);
    setView(drag.from - by, drag.to - by);
    hideTip();
  } else hover(event);
});
for (const name of ["pointerup", "pointercancel"]) {
  board.addEventListener(name, () => {
    board.classList.remove("dragging");
    if (drag && !drag.moved) drag = null;
  });
}
board.addEventListener("pointerleave", hideTip);
board.addEventListener(
  "wheel",
  (event) => {
    const across = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      zoom(1.0015 ** -event.deltaY, timeOf(event.clientX - board.getBoundingClientRect().left));
    } else if (Math.abs(across) > Math.abs(event.shiftKey ? 0 : event.deltaY)) {
      event.preventDefault();
      const by = (across / width) * (state.to - state.from);
      setView(state.from + by, state.to + by);
    }
  },
  { passive: false },
);
board.addEventListener("dblclick", (event) => {
  if (!event.target.closest("[data-place],[data-violation],[data-from]")) {
    zoom(2.5, timeOf(event.clientX - board.getBoundingClientRect().left));
  }
});
function glide(event) {
  const box = overview.getBoundingClientRect();
  const share = (event.clientX - box.left - gutter) / (width - gutter - RIGHT);
  const middle = bounds.from + share * (bounds.to - bounds.from);
  const half = (state.to - state.from) / 2;
  setView(middle - half, middle + half);
}
overview.addEventListener("pointerdown", (event) => {
  overview.setPointerCapture(event.pointerId);
  glide(event);
});
overview.addEventListener("pointermove", (event) => {
  if (event.buttons) glide(event);
});

const tip = el("div", { id: "tip", role: "tooltip", hidden: true });
document.querySelector("main").append(tip);

function hideTip() {
  tip.hidden = true;
}

function hover(event) {
  const target = event.target.closest("[data-place],[data-violation],[data-from]");
  if (!target) return hideTip();
  tip.replaceChildren(...tipWords(target));
  tip.hidden = false;
  const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 12);
  const below = event.clientY + 18;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${below + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 12 : below}px`;
}

function tipWords(target) {
  if (target.dataset.violation !== undefined) {
    const numbers = (target.dataset.violations ?? target.dataset.violation).split(" ").map(Number);
    const more = numbers.length > 4 ? [`and ${numbers.length - 4} more`] : [];
    return [el("b", {}, numbers.length > 1 ? `${numbers.length} violations` : violations[numbers[0]].code), ...numbers.slice(0, 4).map((number) => el("div", {}, violations[number].message)), ...more];
  }
  if (target.dataset.place !== undefined) {
    const event = events[Number(target.dataset.place)];
    const call = target.dataset.call !== undefined ? `, ${target.dataset.call}` : "";
    return [el("b", {}, `${event.s ? "→ " : ""}${nameOf(event)}${call}`), `${seconds(event.t)} · record ${event.i}`, event.w ? el("div", {}, clipped(event.w, 160)) : null].filter(Boolean);
  }
  return [el("b", {}, `${target.dataset.count} events`), `${seconds(Number(target.dataset.from))} to ${seconds(Number(target.dataset.to))} · click to zoom in`];
}

for (const jump of document.querySelectorAll(".jump")) {
  jump.addEventListener("click", () => choose(placeOf.get(Number(jump.dataset.index)), { from: jump, open: true }));
}
list.addEventListener("click", (event) => {
  const row = event.target.closest("[data-place]");
  if (row) choose(Number(row.dataset.place), { from: list, open: true });
});
const apart = document.getElementById("apart");
apart.hidden = !lanes.some((lane) => lane.kind === "call");
apart.setAttribute("aria-pressed", state.apart);
apart.addEventListener("click", () => {
  state.apart = !state.apart;
  apart.setAttribute("aria-pressed", state.apart);
  redraw();
});
const fit = () => setView(bounds.from, bounds.to);
document.getElementById("zoom-in").addEventListener("click", () => zoom(2));
document.getElementById("zoom-out").addEventListener("click", () => zoom(0.5));
document.getElementById("zoom-fit").addEventListener("click", fit);
document.getElementById("previous-violation").addEventListener("click", () => stepViolation(-1));
document.getElementById("next-violation").addEventListener("click", () => stepViolation(1));

// The keyboard

const BOARD_KEYS = {
  ArrowRight: () => step(1, laneEvents()),
  ArrowLeft: () => step(-1, laneEvents()),
  ArrowDown: () => changeLane(1),
  ArrowUp: () => changeLane(-1),
  PageDown: () => step(10, laneEvents()),
  PageUp: () => step(-10, laneEvents()),
  Home: () => step(-events.length, laneEvents()),
  End: () => step(events.length, laneEvents()),
  Enter: () => openPanel(board, { focus: true }),
  " ": () => openPanel(board, { focus: true }),
};
const LIST_KEYS = {
  ArrowDown: () => step(1),
  ArrowUp: () => step(-1),
  PageDown: () => step(10),
  PageUp: () => step(-10),
  Home: () => step(-events.length),
  End: () => step(events.length),
  Enter: () => openPanel(list, { focus: true }),
  " ": () => openPanel(list, { focus: true }),
};
const PAGE_KEYS = {
  Escape: closePanel,
  n: () => stepViolation(1),
  p: () => stepViolation(-1),
  "+": () => zoom(2),
  "=": () => zoom(2),
  "-": () => zoom(0.5),
  0: fit,
  "/": () => field.focus(),
};

function keys(target, actions) {
  target.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (target === document && event.key !== "Escape" && event.target.closest("input, pre")) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

keys(board, BOARD_KEYS);
keys(list, LIST_KEYS);
keys(document, PAGE_KEYS);
board.addEventListener("focus", () => {
  if (state.current < 0 && order.length && board.matches(":focus-visible")) step(1);
});

new ResizeObserver(redraw).observe(board);
labelTheme();
drawLegend();
relist();
draw();
document.documentElement.dataset.ready = "yes";
