// The timeline: an overview of the whole, an axis, and a lane per connection and per call. Only what is in view is drawn.
const chart = document.getElementById("chart");
const overview = document.getElementById("overview");
const board = document.getElementById("timeline");
const WIRE = 72;
const CALL = 28;
const RIGHT = 18;
const MOST_ROWS = 300; // beyond them calls share lanes whatever was asked for
const SHORTEST = 0.0005; // seconds in view at the closest zoom

const missing = violations.map((_, number) => number).filter((number) => violations[number].missing);
const span = lastTime || 1;
const bounds = { from: -span * 0.02, to: lastTime + span * (missing.length ? 0.17 : 0.05) };
state.apart = Math.max(0, ...[...wires.values()].map((wire) => lanes.filter((lane) => lane.kind === "call" && lane.connection === wire.connection).length)) <= 8;
state.from = bounds.from;
state.to = bounds.to;
let width = 0;
let gutter = 190;
let drawing = 0;

const xOf = (time) => gutter + ((time - state.from) / (state.to - state.from)) * (width - gutter - RIGHT);
const timeOf = (x) => state.from + ((x - gutter) / (width - gutter - RIGHT)) * (state.to - state.from);

function redraw() {
  if (!drawing) drawing = requestAnimationFrame(draw);
}

function draw() {
  cancelAnimationFrame(drawing);
  drawing = 0;
  width = Math.max(320, board.clientWidth);
  gutter = width < 640 ? 104 : 200;
  drawOverview();
  drawBoard();
  const zoom = (bounds.to - bounds.from) / (state.to - state.from);
  document.getElementById("zoom-level").textContent = `${zoom < 10 ? Number(zoom.toFixed(1)) : Math.round(zoom)}×`;
  document.getElementById("zoom-out").disabled = zoom < 1.001;
  document.getElementById("zoom-in").disabled = state.to - state.from <= SHORTEST * 1.001;
}

function setView(from, to) {
  const wide = Math.min(bounds.to - bounds.from, Math.max(SHORTEST, to - from));
  const start = Math.min(Math.max(from + (to - from - wide) / 2, bounds.from), bounds.to - wide);
  state.from = start;
  state.to = start + wide;
  redraw();
}

function zoom(factor, at = state.current >= 0 && inView(state.current) ? events[state.current].t : (state.from + state.to) / 2) {
  const share = (at - state.from) / (state.to - state.from);
  const wide = Math.min(bounds.to - bounds.from, Math.max(SHORTEST, (state.to - state.from) / factor));
  setView(at - share * wide, at - share * wide + wide);
}

const inView = (place) => events[place].t >= state.from && events[place].t <= state.to;

function reveal(place) {
  const wide = state.to - state.from;
  const time = events[place].t;
  if (time < state.from + wide * 0.04 || time > state.to - wide * 0.08) setView(time - wide / 2, time + wide / 2);
  const lane = events[place].lane;
  if (!lane) return;
  const top = lane.top ?? 0;
  if (top < board.scrollTop) board.scrollTop = top;
  else if (top + WIRE > board.scrollTop + board.clientHeight) board.scrollTop = top + WIRE - board.clientHeight;
}

function ticks(from, to, most) {
  const rough = (to - from) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((part) => part * power).find((part) => part >= rough);
  const list = [];
  for (let at = Math.ceil(Math.max(0, from) / step); at * step <= to; at += 1) list.push(at * step);
  return { list, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function drawOverview() {
  const inner = width - gutter - RIGHT;
  const bins = new Array(Math.max(1, Math.floor(inner / 4))).fill(0);
  const all = bounds.to - bounds.from;
  const binOf = (time) => Math.min(bins.length - 1, Math.floor(((time - bounds.from) / all) * bins.length));
  for (const [place, event] of events.entries()) if (shows(place) && matches(place)) bins[binOf(event.t)] += 1;
  const most = Math.max(1, ...bins);
  const parts = [];
  for (const [bin, count] of bins.entries()) {
    if (!count) continue;
    const high = 4 + 20 * (Math.log1p(count) / Math.log1p(most));
    parts.push(svg("rect", { class: "density", x: gutter + bin * 4, y: 30 - high, width: 3, height: high }));
  }
  const alarms = new Map();
  for (const { place, definite } of violations) {
    if (place >= 0) alarms.set(binOf(events[place].t), definite || (alarms.get(binOf(events[place].t)) ?? false));
  }
  for (const [bin, definite] of alarms) parts.push(svg("rect", { class: `alarm ${definite ? "" : "unsure"}`, x: gutter + bin * 4, y: 2, width: 3, height: 28, rx: 1 }));
  const left = gutter + ((state.from - bounds.from) / all) * inner;
  const wide = Math.max(4, ((state.to - state.from) / all) * inner);
  parts.push(svg("rect", { class: "window", x: left, y: 1, width: wide, height: 30, rx: 3 }));
  const { list, digits } = ticks(state.from, state.to, inner / 110);
  for (const time of list) {
    parts.push(svg("text", { class: "tick", x: xOf(time), y: 49, "text-anchor": "middle" }, seconds(time, digits)));
  }
  parts.push(svg("text", { class: "tick", x: 14, y: 20 }, gutter > 120 ? "whole recording" : "whole"));
  parts.push(svg("text", { class: "tick", x: 14, y: 49 }, "in view"));
  overview.style.width = `${width}px`;
  overview.setAttribute("height", 58);
  overview.setAttribute("viewBox", `0 0 ${width} 58`);
  overview.replaceChildren(...parts);
}

function drawBoard() {
  let top = 0;
  const back = [];
  const front = [];
  const drawn = lanesDrawn();
  for (const [row, lane] of drawn.entries()) {
    lane.top = top;
    const high = lane.kind === "connection" ? WIRE : CALL;
    back.push(svg("rect", { class: `row ${row % 2 ? "odd" : ""}`, x: 0, y: top, width, height: high }));
    if (lane.kind === "connection") drawWire(lane, top, front);
    else for (const call of lane.calls) drawCall(call, top, front);
    top += high;
  }
  const height = Math.max(top, 60);
  for (const time of ticks(state.from, state.to, (width - gutter - RIGHT) / 110).list) {
    back.push(svg("line", { class: "grid", x1: xOf(time), x2: xOf(time), y1: 0, y2: height }));
  }
  drawGaps(back, height);
  const labels = [svg("rect", { class: "gutter", x: 0, y: 0, width: gutter - 10, height })];
  labels.push(svg("line", { class: "rule", x1: gutter - 10, x2: gutter - 10, y1: 0, y2: height }));
  for (const lane of drawn) drawLabel(lane, labels);
  if (!lanes.length) labels.push(svg("text", { x: 14, y: 34 }, "No events"));
  board.replaceChildren(
    svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "presentation" }, ...back, ...front, svg("g", {}, ...labels)),
  );
  const mark = state.current >= 0 ? document.getElementById(`mark-${events[state.current].i}`) : null;
  if (mark) board.setAttribute("aria-activedescendant", mark.id);
  else board.removeAttribute("aria-activedescendant");
}

// Where records are left out, the lanes must not look like silence.
function drawGaps(back, height) {
  const seen = gaps.filter((gap) => gap.to >= state.from && gap.from <= state.to);
  if (!seen.length) return;
  const line = svg("path", { class: "hatch", d: "M0 8L8 0" });
  back.push(svg("defs", {}, svg("pattern", { id: "hatch", width: 8, height: 8, patternUnits: "userSpaceOnUse" }, line)));
  for (const gap of seen) {
    const left = Math.max(gutter - 10, xOf(gap.from));
    const right = Math.min(width, xOf(gap.to));
    if (right - left < 1.5) continue;
    const words = `${gap.count.toLocaleString("en")} records not shown`;
    back.push(svg("rect", { class: "gap", fill: "url(#hatch)", x: left, y: 0, width: right - left, height }));
    if (right - left > words.length * 6.4 + 10) {
      back.push(svg("text", { class: "tick halo", x: (left + right) / 2, y: 16, "text-anchor": "middle" }, words));
    }
  }
}

// Connections, each with its calls below it: one lane per call, or calls that follow each other on the same lane.
function lanesDrawn() {
  const drawn = [];
  let shared = [];
  for (const lane of lanes) {
    if (lane.kind === "connection") {
      drawn.push(lane);
      shared = [];
      continue;
    }
    const free = state.apart && drawn.length < MOST_ROWS ? undefined : shared.find((row) => row.until < (lane.from ?? lane.to));
    const until = lane.to ?? wires.get(lane.connection)?.to ?? lane.from;
    if (free) {
      free.calls.push(lane);
      free.until = until;
      free.title = `${free.calls.length} calls`;
    } else {
      const row = { kind: "calls", calls: [lane], until, title: `${lane.pair} ${lane.label}` };
      shared.push(row);
      drawn.push(row);
    }
  }
  return drawn;
}

function drawLabel(lane, labels) {
  const most = Math.floor((gutter - 36) / 7.2);
  if (lane.kind === "connection") {
    labels.push(
      svg("line", { class: "rule", x1: 0, x2: width, y1: lane.top, y2: lane.top }),
      svg("text", { class: "lane-name", x: 14, y: lane.top + (lane.sub ? 38 : 47) }, clipped(lane.label, most)),
    );
    if (lane.sub) labels.push(svg("text", { class: "lane-sub", x: 14, y: lane.top + 55 }, clipped(lane.sub, most)));
  } else {
    labels.push(
      svg("path", { class: "branch", d: `M18 ${lane.top}V${lane.top + CALL / 2}h9` }),
      svg("text", { class: "lane-sub", x: 33, y: lane.top + 18 }, clipped(lane.title, most - 2)),
    );
  }
}

function slice(list, from, to) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[list[middle]].t < from) low = middle + 1;
    else high = middle;
  }
  let end = low;
  while (end < list.length && events[list[end]].t <= to) end += 1;
  return list.slice(low, end);
}

function drawWire(lane, top, front) {
  const y = top + 47;
  const edge = ((state.to - state.from) / width) * 12;
  const visible = slice(lane.events, state.from - edge, state.to + edge).filter(shows);
  const left = Math.max(gutter - 8, xOf(lane.from ?? 0));
  const right = Math.min(width, xOf(lane.to ?? 0));
  if (right > left) front.push(svg("line", { class: "wire", x1: left, x2: right, y1: y, y2: y }));
  drawReaches(visible, y, front);
  const groups = [];
  for (const place of visible) {
    const x = xOf(events[place].t);
    const group = groups[groups.length - 1];
    if (group && x < group.x + 8) group.places.push(place);
    else groups.push({ x, places: [place] });
  }
  const most = Math.max(1, ...groups.map((group) => group.places.length));
  for (const [position, group] of groups.entries()) {
    if (group.places.length <= 3) drawFew(group, y, groups[position + 1], front);
    else {
      const high = 14 + 28 * (Math.log(group.places.length) / Math.log(Math.max(most, 30)));
      front.push(columnMark(group.places, group.x - 1, y, 9, Math.min(42, high)));
      if (group.places.includes(state.current)) front.push(eventMark(state.current, group.x + 3.5, y));
    }
  }
  drawPins(visible, top, y, front);
  drawMissing(lane, y, front);
}

function drawFew(group, y, next, front) {
  const middle = (group.places.length - 1) / 2;
  for (const [position, place] of group.places.entries()) {
    front.push(eventMark(place, xOf(events[place].t), y + (position - middle) * 13));
  }
  const [place] = group.places;
  const name = `${events[place].s ? "→ " : ""}${nameOf(events[place])}`;
  if (group.places.length > 1 || events[place].k === "open" || events[place].k === "close") return;
  const clear = (next ? next.x : width) - group.x;
  const room = events[place].violations.length ? clear - 14 : clear;
  if (room > name.length * 6.6 + 14 && group.x > gutter - 4) {
    const x = events[place].violations.length ? group.x + 12 : group.x - 5;
    front.push(svg("text", { class: `name halo ${matches(place) ? "" : "faint"}`, x, y: y - 17 }, name));
  }
}

// A violation of several events reaches from the first to the last of them.
function drawReaches(visible, y, front) {
  const done = new Set();
  for (const place of visible) {
    for (const number of events[place].violations) {
      const violation = violations[number];
      const ends = violation.places.filter((one) => events[one].lane === events[place].lane).map((one) => events[one].t);
      if (done.has(number) || ends.length < 2) continue;
      done.add(number);
      const left = Math.max(gutter - 8, xOf(Math.min(...ends)));
      const right = Math.min(width, xOf(Math.max(...ends)));
      front.push(svg("line", { class: `reach ${violation.definite ? "" : "unsure"}`, x1: left, x2: right, y1: y, y2: y }));
    }
  }
}

function drawPins(visible, top, y, front) {
  const pins = [];
  for (const place of visible) {
    const numbers = events[place].violations.filter((number) => violations[number].place === place);
    if (!numbers.length) continue;
    const x = xOf(events[place].t);
    const pin = pins[pins.length - 1];
    if (pin && x < pin.x + 26) pin.numbers.push(...numbers);
    else pins.push({ x, numbers });
  }
  for (const pin of pins) front.push(pinMark(pin.numbers, pin.x, top + 3, y));
}

function drawMissing(lane, y, front) {
  const x = xOf(lane.to ?? 0) + 18;
  if (x < gutter) return;
  const here = missing.filter((number) => endsHere(violations[number], lane));
  for (const [position, number] of here.slice(0, 4).entries()) {
    front.push(missingMark(number, x, y + (position - (Math.min(here.length, 4) - 1) / 2) * 15));
  }
}

function endsHere(violation, lane) {
  if (violation.place < 0) return violation.connection ? violation.connection === lane.connection : lane.row === 0;
  const event = events[violation.place];
  if (event.lane !== lane) return false;
  // The end of a lane is where it was missed when nothing that was received comes after.
  return event.t >= lane.lastHeard;
}

function drawCall(lane, top, front) {
  const parent = wires.get(lane.connection);
  const from = xOf(lane.from ?? lane.to);
  const to = xOf(lane.to ?? parent?.to ?? lane.from);
  if (to < gutter - 8 || from > width || state.hidden.has(events[placeOf.get(lane.open ?? lane.close)].n)) return;
  front.push(callMark(lane, Math.max(from, gutter - 9), Math.min(to, width + 4), top + CALL / 2, width));
}
