// What a person says of the findings of a pair: kept here, saved at once, never over what somebody else has said.

import { byWhom } from "./whom.js";

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const name = (each) => each.finding ?? JSON.stringify([each.kind, each.outline]);
const byName = (list) => new Map(list.map((each) => [name(each), each]));

// What was changed here since `base`, put over what somebody else has said meanwhile.
export function merged(base, mine, theirs) {
  const [was, own, found] = [base, mine, theirs].map(byName);
  for (const id of new Set([...was.keys(), ...own.keys()])) {
    if (same(was.get(id), own.get(id))) continue;
    if (own.has(id)) found.set(id, own.get(id));
    else found.delete(id);
  }
  return [...found.values()];
}

// Tells of `change` (what is said is another) and of `state` (`saving`, `saved`, `failed`; then with the answer).
export class Corrections extends EventTarget {
  constructor(address, { version, corrections }) {
    super();
    Object.assign(this, { address, version, list: corrections, base: corrections });
    this.saving = this.again = this.conflict = false;
    window.addEventListener("beforeunload", (event) => this.unsaved && event.preventDefault());
  }

  get unsaved() {
    return !same(this.list, this.base);
  }

  get drawn() {
    return this.list.filter((each) => each.finding === null);
  }

  // Of a finding, by its number, or of what was drawn: `drawn-1`, ...
  of(id) {
    if (String(id).startsWith("drawn-")) return this.drawn[Number(id.slice(6)) - 1];
    return this.list.find((each) => each.finding === Number(id));
  }

  // Null takes back what was said. What is new comes last.
  put(id, said) {
    const earlier = id === null ? undefined : this.of(id);
    const list = earlier ? this.list.map((each) => (each === earlier ? said : each)) : [...this.list, said];
    this.list = list.filter((each) => each !== null);
    this.dispatchEvent(new Event("change"));
    return this.save();
  }

  tell(state, answer = {}) {
    this.dispatchEvent(new CustomEvent("state", { detail: { state, ...answer } }));
  }

  async save() {
    this.again = true;
    if (this.saving) return;
    this.saving = true;
    while (this.again) {
      this.again = false;
      this.tell("saving");
      await this.send();
    }
    this.saving = false;
  }

  async send() {
    try {
      if (this.conflict) await this.join();
      const sent = this.list;
      const answer = await this.ask("PUT", { version: this.version, corrections: sent, ...byWhom() });
      Object.assign(this, { version: answer.version, base: sent });
      this.tell("saved", answer);
    } catch (problem) {
      this.conflict = problem.code === "review_changed";
      this.tell("failed", problem.code ? problem : {});
    }
  }

  async join() {
    const { version, corrections } = await this.ask("GET");
    Object.assign(this, { version, list: merged(this.base, this.list, corrections), base: corrections, conflict: false });
    this.dispatchEvent(new Event("change"));
  }

  // The answer; throws the problem, or what the browser says where there is no line.
  async ask(method, body) {
    const response = await fetch(this.address, {
      method,
      cache: "no-store",
      headers: { "Content-Type": "application/json", "Accept-Language": document.documentElement.lang },
      body: body && JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) throw answer;
    return answer;
  }
}
