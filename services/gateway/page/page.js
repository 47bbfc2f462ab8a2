import { GatewayConnection } from "./connection.js";

const AGENT_EVENTS = [
  "agent_started", "agent_thinking", "tool_executing", "tool_completed", "partial_result", "agent_completed", "error_event",
];
const MOST_ROWS = 500;
const $ = (id) => document.getElementById(id);
const connection = new GatewayConnection();
const pending = new Map(); // message id -> the item that shows it, until it has its place among the others
const turns = new Map(); // run id -> {thinking, answer}
const counts = new Map(AGENT_EVENTS.map((name) => [name, 0]));
let running = null;
let began = null;

for (const name of AGENT_EVENTS) {
  const item = $("counts").appendChild(document.createElement("li"));
  item.id = `count-${name}`;
}
showCounts();

connection.addEventListener("state", ({ detail: { state, words } }) => {
  $("state").dataset.state = state;
  $("state").textContent = words ? `${state}: ${words}` : state;
  $("send-button").disabled = state !== "online";
  $("disconnect-button").disabled = ["offline", "refused"].includes(state);
});

connection.addEventListener("event", ({ detail: event }) => {
  if (event.type === "error_event" && event.payload.request_id === "follow") return;
  note(event);
  show(event);
});

connection.addEventListener("dropped", ({ detail: { message, why } }) => {
  pending.get(message.id).dataset.state = "refused";
  pending.delete(message.id);
  $("content").value ||= message.content;
  say("error", why);
});

$("connect").addEventListener("submit", (submit) => {
  submit.preventDefault();
  connection.start($("token").value.trim(), $("thread").value);
});
$("disconnect-button").addEventListener("click", () => connection.stop());
$("cancel-button").addEventListener("click", () => connection.send({ type: "cancel", run_id: running }));
$("chat").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const content = $("content").value.trim();
  if (!content) return;
  const message_id = crypto.randomUUID?.() ?? String(Math.random()).slice(2);
  pending.set(message_id, say("user", content));
  pending.get(message_id).dataset.state = "sent";
  $("content").value = "";
  connection.submit({
    type: "user_message", content, message_id, thread_id: connection.thread, enable_thinking: $("thinking").checked,
  });
});

function show(event) {
  const payload = event.payload;
  switch (event.type) {
    case "message_accepted":
      // A duplicate has its place already, or gets it when the connection has read on.
      if (!payload.duplicate) accept(payload);
      return;
    case "agent_started":
      turns.set(event.run_id, {});
      run(event.run_id);
      return;
    case "agent_thinking":
      append(event, "thinking", payload.text);
      return;
    case "tool_executing":
      say("tool", `${payload.text} ${JSON.stringify(payload.arguments)}`);
      return;
    case "tool_completed":
      say("tool", payload.text);
      return;
    case "partial_result":
      append(event, "answer", payload.text);
      return;
    case "agent_completed":
      end(event);
      return;
    case "busy":
      if (pending.has(payload.request_id)) pending.get(payload.request_id).dataset.state = "waiting";
      else say("error", payload.text);
      return;
    case "error_event":
      // What is said of a message of this page is said where it is dropped.
      if (event.run_id || !payload.request_id) say("error", payload.text);
      if (event.run_id) end(event);
      return;
    case "draining":
      say("error", payload.text);
  }
}

function accept({ message_id, content }) {
  const item = pending.get(message_id);
  pending.delete(message_id);
  item?.remove();
  say("user", content ?? item?.textContent ?? "");
}

function append(event, kind, text) {
  const turn = turns.get(event.run_id) ?? {};
  turns.set(event.run_id, turn);
  turn[kind] ??= say(kind, "");
  turn[kind].textContent += text;
}

function end(event) {
  turns.delete(event.run_id);
  if (event.run_id === running) run(null);
}

function run(id) {
  running = id;
  $("cancel-button").disabled = id === null;
}

function say(kind, text) {
  const item = document.createElement("li");
  item.className = kind;
  // textContent: whatever a user or a model writes stays text.
  item.textContent = text;
  $("messages").append(item);
  trim($("messages"));
  item.scrollIntoView({ block: "nearest" });
  return item;
}

function note(event) {
  if (counts.has(event.type)) counts.set(event.type, counts.get(event.type) + 1);
  showCounts();
  const at = Date.parse(event.timestamp);
  if (event.type === "message_accepted" || began === null) began = at;
  const row = document.createElement("tr");
  row.dataset.type = event.type;
  const words = event.payload.text ?? event.payload.message_id ?? "";
  for (const value of [event.seq ?? "", at - began, event.type, words]) {
    row.append(Object.assign(document.createElement("td"), { textContent: value }));
  }
  $("events").append(row);
  trim($("events"));
}

function showCounts() {
  for (const [name, count] of counts) {
    const item = $(`count-${name}`);
    item.dataset.count = count;
    item.textContent = `${name} ${count}`;
  }
}

function trim(list) {
  while (list.childElementCount > MOST_ROWS) list.firstElementChild.remove();
}

// For whoever drives the page: a test, or a person in the console.
window.gatewayConnection = connection;
