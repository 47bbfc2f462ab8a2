// A connection to the gateway that comes back by itself and goes on where it broke off.
//
// offline --start--> connecting --welcome--> online --lost--> waiting --time--> connecting
// refused and offline are final until `start` is called again.

const FIRST_DELAY = 250;
const LAST_DELAY = 10_000;
const HEARTBEAT = 15_000;

export class GatewayConnection extends EventTarget {
  #socket = null;
  #token = "";
  #positions = new Map(); // thread id -> {epoch, seq}
  #attempt = 0;
  #timer = 0;
  #heartbeat = 0;
  #stopped = true;

  start(token, thread) {
    this.stop();
    this.#token = token;
    this.#stopped = false;
    this.#attempt = 0;
    this.thread = thread;
    this.#connect();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearInterval(this.#heartbeat);
    this.#socket?.close(1000);
    this.#socket = null;
    this.#tell("offline");
  }

  // Breaks the connection without stopping it, as a lost network would.
  drop() {
    this.#socket?.close(3000);
  }

  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #connect() {
    this.#tell("connecting");
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws`);
    this.#socket = socket;
    socket.onopen = () => socket.send(JSON.stringify({ type: "auth", token: this.#token }));
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = ({ code, reason }) => { if (socket === this.#socket) this.#lost(code, reason); };
  }

  #receive(event) {
    if (event.type === "welcome") {
      this.#attempt = 0;
      this.#follow(event.epoch);
      clearInterval(this.#heartbeat);
      this.#heartbeat = setInterval(() => this.send({ type: "ping" }), HEARTBEAT);
      this.#tell("online");
    }
    if (event.seq !== undefined) {
      const known = this.#positions.get(event.thread_id);
      if (known && known.epoch === event.epoch && event.seq <= known.seq) return;
      this.#positions.set(event.thread_id, { epoch: event.epoch, seq: event.seq });
    }
    this.dispatchEvent(new CustomEvent("event", { detail: event }));
  }

  #follow(epoch) {
    const known = this.#positions.get(this.thread);
    const seq = known?.epoch === epoch ? known.seq : 0;
    // A thread that nobody has written to yet is answered with not_found, which is no trouble.
    this.send({ type: "resume", id: "follow", thread_id: this.thread, epoch, seq });
  }

  #lost(code, reason) {
    clearInterval(this.#heartbeat);
    this.#socket = null;
    if (this.#stopped) return;
    if (code >= 4400 && code <= 4499) {
      this.#stopped = true;
      this.#tell("refused", reason);
      return;
    }
    const hint = /retry_after_ms=(\d+)/.exec(reason);
    const backoff = Math.min(FIRST_DELAY * 2 ** this.#attempt++, LAST_DELAY) * (0.5 + Math.random() / 2);
    const delay = hint ? Number(hint[1]) : backoff;
    this.#tell("waiting", `again in ${Math.ceil(delay / 100) / 10} s`);
    this.#timer = setTimeout(() => this.#connect(), delay);
  }

  #tell(state, words = "") {
    this.dispatchEvent(new CustomEvent("state", { detail: { state, words } }));
  }
}
