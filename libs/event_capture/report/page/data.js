// What the report says, read once, and the state of the page. Texts of the stream only ever become text nodes.
const report = JSON.parse(document.getElementById("report-data").textContent);
const events = report.events;
const lanes = report.lanes;
const violations = report.violations;

const heard = (event) => event.k === "event" && !event.s;
const placeOf = new Map(events.map((event, place) => [event.i, place]));
const wires = new Map();
for (const [row, lane] of lanes.entries()) {
  lane.row = row;
  lane.events = [];
  if (lane.kind === "connection") wires.set(lane.connection, lane);
}
for (const [place, event] of events.entries()) {
  event.violations = [];
  event.calls = [];
  event.lane = wires.get(event.c) ?? null;
  if (event.lane) event.lane.events.push(place);
}
for (const lane of wires.values()) {
  lane.events.sort((one, other) => events[one].t - events[other].t || one - other);
  lane.lastHeard = lane.events.reduce((latest, place) => (heard(events[place]) ? Math.max(latest, events[place].t) : latest), 0);
}
for (const [number, violation] of violations.entries()) {
  const places = violation.indices.map((index) => placeOf.get(index)).filter((place) => place !== undefined);
  violation.places = places;
  violation.place = places.length ? places[places.length - 1] : -1;
  for (const place of new Set(places)) events[place].violations.push(number);
}
for (const lane of lanes) {
  if (lane.kind !== "call") continue;
  for (const index of [lane.open, lane.close]) {
    const place = placeOf.get(index);
    if (place !== undefined) events[place].calls.push(lane);
  }
}

// Stretches of the recording that this page leaves out.
const gaps = [];
let earlier = 0;
for (const [place, event] of events.entries()) {
  const before = events[place - 1];
  const count = report.part && before ? event.i - before.i - 1 : 0;
  if (count > 0) {
    gaps.push({ from: before.t, to: event.t, count });
    earlier += 1;
  }
  event.gaps = earlier;
}

const order = events.map((_, place) => place).sort((one, other) => events[one].t - events[other].t || one - other);
const rank = new Map(order.map((place, position) => [place, position]));
const lastTime = events.reduce((latest, event) => Math.max(latest, event.t), 0);

// Colours go to the most frequent names of events; the rest, and connection changes, share one.
const COLOURS = 8;
const frequent = report.names
  .map((_, name) => name)
  .sort((one, other) => report.names[one].life - report.names[other].life || report.names[other].count - report.names[one].count);
const colourOf = new Map(frequent.filter((name) => !report.names[name].life).slice(0, COLOURS).map((name, colour) => [name, colour]));
const colour = (name) => `c${colourOf.get(name) ?? COLOURS}`;

const state = {
  current: -1, // place of the chosen event
  hidden: new Set(), // names that are switched off
  query: "",
  matches: null, // places that match the query; null: there is no query
  from: 0, // part of the timeline in view, in seconds
  to: 1,
  apart: true, // one lane per call, instead of calls that follow each other sharing lanes
};

const shows = (place) => !state.hidden.has(events[place].n);
const matches = (place) => state.matches === null || state.matches.has(place);

const nameOf = (event) => report.names[event.n].name;

function seconds(value, digits = 3) {
  if (value >= 120) return `${Math.floor(value / 60)} min ${(value % 60).toFixed(Math.min(digits, 1))} s`;
  return `${value.toFixed(digits)} s`;
}

function lasting(value) {
  if (value < 0.0009995) return `${Math.round(value * 1e6)} µs`;
  return value < 0.9995 ? `${Math.round(value * 1000)} ms` : seconds(value, 2);
}

function clipped(text, most) {
  return text.length > most ? `${text.slice(0, Math.max(1, most - 1))}…` : text;
}

function bytes(size) {
  if (!size) return "";
  return size < 1024 ? `${size} B` : size < 1048576 ? `${(size / 1024).toFixed(1)} KiB` : `${(size / 1048576).toFixed(1)} MiB`;
}

function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && name !== "role") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function say(text) {
  document.getElementById("status").textContent = text;
}

// An event in one sentence, for whoever hears the page.
function spoken(place) {
  const event = events[place];
  const parts = [`${event.s ? "sent " : ""}${nameOf(event)}`, seconds(event.t), event.c];
  if (event.w) parts.push(clipped(event.w, 120));
  for (const number of event.violations.slice(0, 3)) parts.push(`violation: ${violations[number].message}`);
  return parts.join(", ");
}
