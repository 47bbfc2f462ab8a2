// Talks to a gateway as a web page would, with the default transports: polling first, then the upgrade.
// Arguments: URL, token. Says everything it sees, one JSON array per line.
import { io } from "socket.io-client";

const [url, token] = process.argv.slice(2);
const say = (...words) => console.log(JSON.stringify(words));
const socket = io(url, { auth: { token }, reconnectionDelay: 10 });
const turns = [
  () => socket.emit("chat_message", { content: "First message", session_id: "js" }),
  // The network goes away; the client comes back by itself.
  () => {
    socket.once("connect", () => socket.emit("chat_message", { content: "Second message", session_id: "js" }));
    socket.io.engine.close();
  },
  () => socket.emit("chat_message", { content: 5, session_id: "js" }),
];
const next = () => (turns.length ? turns.shift()() : socket.disconnect());

socket.io.on("open", () => {
  const engine = socket.io.engine;
  say("open", engine.transport.name);
  engine.once("upgrade", () => say("upgrade", engine.transport.name));
});
socket.on("connect", () => say("connect", "/"));
for (const name of ["chat_thinking", "chat_chunk", "chat_response"]) {
  socket.on(name, (data) => say(name, data));
}
for (const name of ["chat_complete", "error"]) {
  socket.on(name, (data) => (say(name, data), next()));
}
socket.on("connect_error", (error) => (say("connect_error", error.message), socket.disconnect()));
socket.on("disconnect", (reason) => say("disconnect", reason));
const upgraded = new Promise((resolve) => socket.io.engine.once("upgrade", resolve));
const connected = new Promise((resolve) => socket.once("connect", resolve));
Promise.all([upgraded, connected]).then(next);
