// What a person has decided or photographed and the server does not have yet. It lives in the browser's database, so
// that neither a closed page nor a lost line loses it, and every request bears a key, so that it acts once however
// often it is sent (Idempotency-Key).

import { upload } from "./upload.js";

const DATABASE = "jingdi";
const [ITEMS, PICTURES] = ["outbox", "pictures"];
const RETRY_MS = [3000, 60000]; // first, and longest
const KEPT_MS = 7 * 24 * 3600 * 1000; // what was sent is shown for so long

// --- Requests ---------------------------------------------------------------------------------------------

class Later extends Error {} // no line, or the server is not itself: try again
export class SignIn extends Error {}
export class Refused extends Error {
  constructor(problem) {
    super(problem.title);
    this.problem = problem;
  }
}

export async function ask(url, options = {}) {
  const headers = { "Accept-Language": document.documentElement.lang, ...options.headers };
  let response;
  try {
    response = await fetch(url, { ...options, headers });
  } catch {
    throw new Later();
  }
  if (response.ok) return response;
  const { status } = response;
  const problem = await response.json().catch(() => ({}));
  if (status === 401) throw new SignIn();
  if (status >= 500 || status === 429 || problem.code === "idempotency_pending") throw new Later();
  const { code = "", title = response.statusText, detail = "", remedy = "" } = problem;
  throw new Refused({ status, code, title, detail, remedy });
}

function verdictRequest(item, photographs) {
  const body = { ...item.body, photographs };
  return {
    url: `/api/v1/ledger/alerts/${item.alert}/verdicts`,
    options: {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": item.id },
      body: JSON.stringify(body),
    },
  };
}

export function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// --- The browser's database -------------------------------------------------------------------------------

function answered(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function database() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore(ITEMS, { keyPath: "id" });
    request.result.createObjectStore(PICTURES);
  };
  return answered(request);
}

async function within(stores, mode, work) {
  const opened = await database();
  try {
    const transaction = opened.transaction(stores, mode, { durability: "strict" });
    const done = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
    const result = await work(transaction);
    await done;
    return result;
  } finally {
    opened.close();
  }
}

// --- The outbox -------------------------------------------------------------------------------------------

// `items` are this person's: { id, kind, alert, site, at, due, state: waiting | sent | refused, problem, answer, ... }.
// Fires `change` whenever one of them is another.
export class Outbox extends EventTarget {
  constructor(person) {
    super();
    this.person = person;
    this.items = [];
    this.removed = new Set(); // what is taken back while it is being read is not there again
    this.sending = Promise.resolve();
    this.signedOut = false;
    this.unreachable = false;
    this.wait = RETRY_MS[0];
    window.addEventListener("online", () => this.flush());
    window.addEventListener("pageshow", (event) => event.persisted && this.flush());
    window.addEventListener("pagehide", () => this.leave());
  }

  async start() {
    await this.load();
    const old = this.items.filter((item) => item.state === "sent" && item.sentAt < Date.now() - KEPT_MS);
    for (const item of old) await this.remove(item.id);
    this.flush();
  }

  async load() {
    const all = await within([ITEMS], "readonly", (t) => answered(t.objectStore(ITEMS).getAll()));
    this.items = all
      .filter((item) => item.person === this.person && !this.removed.has(item.id))
      .sort((a, b) => a.at.localeCompare(b.at));
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }

  // A verdict on a lead, held for so long; or a photograph, whose file is `picture`.
  async add(item, { holdMs = 0, picture = null } = {}) {
    const now = Date.now();
    const own = { id: newId(), person: this.person, at: new Date(now).toISOString(), state: "waiting" };
    const whole = { ...own, due: now + holdMs, problem: null, answer: null, ...item };
    await within([ITEMS, PICTURES], "readwrite", (t) => {
      t.objectStore(ITEMS).put(whole);
      if (picture) t.objectStore(PICTURES).put(picture, whole.id);
    });
    if (!this.items.some((item) => item.id === whole.id)) this.items.push(whole); // unless it was read already
    this.changed();
    if (holdMs) this.schedule();
    else this.flush();
    return whole;
  }

  async remove(id) {
    this.removed.add(id);
    this.items = this.items.filter((item) => item.id !== id);
    this.changed();
    await within([ITEMS, PICTURES], "readwrite", (t) => {
      t.objectStore(ITEMS).delete(id);
      t.objectStore(PICTURES).delete(id);
    });
  }

  picture(id) {
    return within([PICTURES], "readonly", (t) => answered(t.objectStore(PICTURES).get(id)));
  }

  async save(item) {
    if (!this.items.includes(item)) return; // taken back meanwhile
    this.changed();
    await within([ITEMS], "readwrite", (t) => t.objectStore(ITEMS).put(item));
  }

  // Only one page sends at a time.
  flush() {
    const send = () => this.sendAll();
    if (navigator.locks) return navigator.locks.request("jingdi-outbox", send);
    this.sending = this.sending.then(send, send); // not on https
    return this.sending;
  }

  async sendAll() {
    clearTimeout(this.retry);
    await this.load(); // another page may have sent some
    this.signedOut = this.unreachable = false;
    for (const item of [...this.items]) {
      if (item.state !== "waiting" || item.due > Date.now() || !this.items.includes(item)) continue;
      try {
        await this.send(item);
        this.wait = RETRY_MS[0];
      } catch (error) {
        if (error instanceof Refused) {
          Object.assign(item, { state: "refused", problem: error.problem });
          await this.save(item);
          continue;
        }
        this.signedOut = error instanceof SignIn;
        this.unreachable = !this.signedOut;
        this.retry = setTimeout(() => this.flush(), this.wait);
        this.wait = Math.min(2 * this.wait, RETRY_MS[1]);
        break;
      }
    }
    this.schedule();
    this.changed();
  }

  // What is held is sent when its time comes, whichever page has put it there.
  schedule() {
    clearTimeout(this.next);
    const held = this.items.filter((item) => item.state === "waiting" && item.due > Date.now());
    if (!held.length) return;
    this.next = setTimeout(() => this.flush(), Math.min(...held.map((item) => item.due)) - Date.now() + 20);
  }

  async send(item) {
    let answer;
    if (item.kind === "photograph") {
      answer = await upload(item, await this.picture(item.id), () => this.save(item));
    } else {
      const photographs = this.photographsOf(item);
      if (photographs === null) return; // one of them is on the way
      const { url, options } = verdictRequest(item, photographs);
      answer = await (await ask(url, options)).json();
    }
    Object.assign(item, { state: "sent", answer, sentAt: Date.now() });
    await this.save(item);
  }

  // Ids on the server of the photographs that a verdict rests on; null until all have arrived.
  photographsOf(item) {
    const own = this.items.filter((each) => (item.photographs ?? []).includes(each.id));
    const lost = own.find((each) => each.state === "refused");
    if (lost) throw new Refused({ ...lost.problem, code: "photograph_lost" });
    return own.every((each) => each.state === "sent") ? own.map((each) => each.answer.id) : null;
  }

  // Leaving the page ends the time to undo. What the answer is, is asked again when a page is opened.
  leave() {
    for (const item of this.items) {
      if (item.kind !== "verdict" || item.state !== "waiting" || item.photographs?.length) continue;
      const { url, options } = verdictRequest(item, []);
      fetch(url, { ...options, keepalive: true }).catch(() => {});
      item.due = 0;
    }
  }
}
