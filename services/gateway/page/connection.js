// A connection to the gateway that comes back by itself and goes on where it broke off.
//
// offline --start--> connecting --welcome--> online --lost--> waiting --time--> connecting
// refused and offline are final until `start` is called again.
//
// What is submitted is sent until the gateway has accepted or refused it: again after a break, again after `busy`. The
// message id makes that safe: sent twice, it runs once.

const FIRST_DELAY = 250;
const LAST_DELAY = 10_000;
const PATIENCE = 10_000; // for a connection to be made and welcomed
const FOLLOW_AGAIN = 1_000;

export class GatewayConnection extends EventTarget {
  #socket = null;
  #token = "";
  #positions = new Map(); // thread id -> {epoch, seq}
  #unanswered = new Map(); // message id -> message
  #epoch = "";
  #limits = { max_inbound_bytes: 0 };
  #attempt = 0;
  #timer = 0;
  #heartbeat = 0;
  #silent = false; // since the last ping
  #stopped = true;

  start(token, thread) {
    this.stop();
    if (owner(token) !== owner(this.#token)) {
      // What one user wrote is never sent as another, and each has threads of their own.
      for (const message_id of [...this.#unanswered.keys()]) {
        this.#drop(message_id, "Another user has connected.");
      }
      this.#positions.clear();
    }
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

  // Sends a user message until it is answered. Its id names it in answers.
  submit(message) {
    const named = { ...message, id: message.message_id };
    this.#unanswered.set(named.id, named);
    const size = new TextEncoder().encode(JSON.stringify(named)).length;
    if (size <= this.#limits.max_inbound_bytes) this.send(named);
    else this.#drop(named.id, `The message has ${size} bytes, the limit is ${this.#limits.max_inbound_bytes}.`);
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
    this.#timer = setTimeout(() => this.#abandon(), PATIENCE);
    socket.onopen = () => socket.send(JSON.stringify({ type: "auth", token: this.#token }));
    // A socket that was given up may come back to life, and is not heard any more.
    socket.onmessage = ({ data }) => { if (socket === this.#socket) this.#receive(JSON.parse(data)); };
    socket.onclose = ({ code, reason }) => { if (socket === this.#socket) this.#lost(code, reason); };
  }

  #receive(event) {
    this.#silent = false;
    if (event.type === "welcome") {
      clearTimeout(this.#timer);
      this.#attempt = 0;
      this.#epoch = event.epoch;
      this.#limits = event.payload.limits;
      this.#follow();
      for (const message of this.#unanswered.values()) this.send(message);
      clearInterval(this.#heartbeat);
      this.#heartbeat = setInterval(() => this.#beat(), this.#limits.heartbeat_seconds * 1000);
      this.#tell("online");
    }
    this.#settle(event);
    if (event.seq !== undefined) {
      const known = this.#positions.get(event.thread_id);
      if (known && known.epoch === event.epoch && event.seq <= known.seq) return;
      this.#positions.set(event.thread_id, { epoch: event.epoch, seq: event.seq });
    }
    this.dispatchEvent(new CustomEvent("event", { detail: event }));
  }

  #settle(event) {
    const { message_id, request_id, retry_after_ms } = event.payload;
    if (event.type === "message_accepted") {
      this.#unanswered.delete(message_id);
    } else if (event.type === "busy" && this.#unanswered.has(request_id)) {
      setTimeout(() => this.#again(request_id), retry_after_ms);
    } else if (event.type === "error_event" && !event.run_id) {
      if (this.#unanswered.has(request_id)) this.#drop(request_id, event.payload.text);
      if (request_id === "follow" && event.payload.retryable) setTimeout(() => this.#follow(), FOLLOW_AGAIN);
    }
  }

  #again(message_id) {
    const message = this.#unanswered.get(message_id);
    if (message) this.send(message);
  }

  #drop(message_id, why) {
    const message = this.#unanswered.get(message_id);
    this.#unanswered.delete(message_id);
    this.dispatchEvent(new CustomEvent("dropped", { detail: { message, why } }));
  }

  // A network that is gone without a word leaves the socket open; only the missing answer tells.
  #beat() {
    if (this.#silent) return this.#abandon();
    this.#silent = true;
    this.send({ type: "ping" });
  }

  // Gives up a socket without waiting for the other side to agree.
  #abandon() {
    const socket = this.#socket;
    this.#lost(1006, "");
    socket?.close();
  }

  #follow() {
    const epoch = this.#epoch;
    const known = this.#positions.get(this.thread);
    const seq = known?.epoch === epoch ? known.seq : 0;
    // A thread that nobody has written to yet is answered with not_found, which is no trouble.
    this.send({ type: "resume", id: "follow", thread_id: this.thread, epoch, seq });
  }

  #lost(code, reason) {
    clearTimeout(this.#timer);
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

// Whose token it is, as far as that can be read: only for telling two users apart.
function owner(token) {
  try {
    const { tenant, sub } = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return JSON.stringify([tenant, sub]);
  } catch {
    return token;
  }
}
