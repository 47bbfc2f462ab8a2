// The shapes on the timeline.
const RADIUS = 6;
const WORST = (numbers) => (numbers.some((number) => violations[number].definite) ? "" : "unsure");

function eventMark(place, x, y) {
  const event = events[place];
  const kind = event.k === "event" ? (event.s ? "sent" : "received") : event.k === "malformed" ? "malformed" : "end";
  const group = svg("g", {
    class: `mark ${kind} ${colour(event.n)} ${matches(place) ? "" : "faint"} ${WORST(event.violations)}`,
    id: `mark-${event.i}`,
    role: "option",
    "aria-selected": place === state.current,
    "aria-label": spoken(place),
    "aria-posinset": rank.get(place) + 1,
    "aria-setsize": events.length,
    "data-place": place,
  });
  group.append(svg("circle", { class: "hit", cx: x, cy: y, r: 11 }));
  if (event.violations.length) group.append(svg("circle", { class: "ring", cx: x, cy: y, r: RADIUS + 3.5 }));
  else if (state.matches !== null && matches(place)) group.append(svg("circle", { class: "found", cx: x, cy: y, r: RADIUS + 3 }));
  group.append(shape(kind, x, y));
  if (place === state.current) group.append(svg("circle", { class: "current", cx: x, cy: y, r: RADIUS + 7 }));
  return group;
}

function shape(kind, x, y) {
  if (kind === "sent") return svg("path", { class: "dot", d: `M${x} ${y - 7}L${x + 7} ${y + 5}H${x - 7}Z` });
  if (kind === "end") return svg("rect", { class: "dot", x: x - 2.5, y: y - 11, width: 5, height: 22, rx: 2 });
  if (kind === "malformed") {
    return svg("path", { class: "dot", d: `M${x - 6} ${y - 6}l3 -2 3 3 3 -3 3 2 -3 6 3 6 -3 2 -3 -3 -3 3 -3 -2 3 -6z` });
  }
  return svg("circle", { class: "dot", cx: x, cy: y, r: RADIUS });
}

// Events too close to draw one by one: a column, as high as there are many, in the colours of their names.
function columnMark(places, x, y, width, height) {
  const counts = new Map();
  for (const place of places) counts.set(events[place].n, (counts.get(events[place].n) ?? 0) + 1);
  const found = places.some(matches);
  const first = events[places[0]];
  const last = events[places[places.length - 1]];
  const group = svg("g", {
    class: `column ${found ? "" : "faint"}`,
    "data-from": first.t,
    "data-to": last.t,
    "data-count": places.length,
    role: "presentation",
  });
  group.append(svg("rect", { class: "hit", x: x - 1, y: y - 22, width: width + 2, height: 44 }));
  let top = y - height / 2;
  for (const [name, count] of [...counts].sort((one, other) => other[1] - one[1]).slice(0, 5)) {
    const part = (height * count) / places.length;
    group.append(svg("rect", { class: colour(name), x, y: top.toFixed(2), width, height: Math.max(1, part).toFixed(2), rx: 1.5 }));
    top += part;
  }
  return group;
}

function pinMark(numbers, x, top, y) {
  const text = numbers.length > 99 ? "99+" : numbers.length > 1 ? String(numbers.length) : "!";
  const seen = numbers.some((number) => matches(violations[number].place));
  const half = text.length > 2 ? 13 : text.length > 1 ? 10 : 8;
  const group = svg("g", { class: `pin ${WORST(numbers)} ${seen ? "" : "faint"}`, "data-violation": numbers[0], "data-violations": numbers.join(" ") });
  group.append(
    svg("line", { x1: x, x2: x, y1: top + 15, y2: y - 10 }),
    svg("path", { d: `M${x - half} ${top + 2}a3 3 0 0 1 3 -3h${2 * half - 6}a3 3 0 0 1 3 3v8a3 3 0 0 1 -3 3h${6 - half}l-3 4 -3 -4h${6 - half}a3 3 0 0 1 -3 -3z` }),
    svg("text", { x, y: top + 10 }, text),
  );
  return group;
}

// Events that should have come at the end of a lane and did not.
function missingMark(number, x, y) {
  const violation = violations[number];
  const group = svg("g", { class: `missing ${violation.definite ? "" : "unsure"}`, "data-violation": number });
  group.append(
    svg("path", { d: `M${x} ${y - 5}l5 5 -5 5 -5 -5z` }),
    svg("text", { x: x + 10, y: y + 4, class: "halo" }, clipped(`no ${violation.event}`, 28)),
  );
  return group;
}

function callMark(lane, from, to, y, room) {
  const troubled = [lane.open, lane.close]
    .map((index) => placeOf.get(index))
    .filter((place) => place !== undefined)
    .some((place) => events[place].violations.some((number) => PAIR_CODES.has(violations[number].code)));
  const closed = lane.open !== undefined && lane.close !== undefined;
  const place = placeOf.get(lane.open ?? lane.close);
  const words = closed ? lasting(lane.to - lane.from) : lane.open === undefined ? "never began" : "never ended";
  const width = Math.max(3, to - from);
  const group = svg("g", {
    class: `call ${colour(events[place].n)} ${troubled ? "bad" : ""} ${closed ? "" : "open"} ${matches(place) ? "" : "faint"}`,
    "data-place": place,
    "data-call": lane.sub,
    role: "presentation",
  });
  group.append(svg("rect", { x: from, y: y - 8, width, height: 16, rx: 4 }));
  const full = `${lane.label} ${words}`;
  if (!state.apart && width > full.length * 6.6 + 12) group.append(svg("text", { class: "time", x: from + 7, y: y + 4 }, full));
  else if (width > words.length * 6.6 + 12) group.append(svg("text", { class: "time", x: from + 7, y: y + 4 }, words));
  else if (state.apart && room > to + words.length * 6.6 + 12) group.append(svg("text", { class: "time", x: to + 7, y: y + 4 }, words));
  return group;
}

const PAIR_CODES = new Set(["unclosed-pair", "orphan-event", "closed-twice", "reopened-pair", "too-slow", "pair-without-key"]);
