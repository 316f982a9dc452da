// Many pairs at once: two piles of pictures are paired by name, or else by order, sent one after another and followed.

const form = document.getElementById("batch");
const words = document.getElementById("words").dataset;
const rule = document.getElementById("rule");
const submit = form.querySelector(".primary");
const body = document.querySelector("#table tbody");
const piles = { before: [], after: [] };
const AT_ONCE = 2;
const MARKS = /(整治前|整治后|before|after|pre|post|前|后|t1|t2|[_\-. ][ab12])/gi;
const number = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 0 });
let rows = [];
let sending = false;

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

function stem(name) {
  return name.replace(/\.[^.]+$/, "").replace(MARKS, "").replace(/[_\-. ]+/g, "").toLowerCase();
}

// Names that fit are surer than any order; only if every stem is there once in each pile are they used.
function paired() {
  const [first, second] = ["before", "after"].map((side) =>
    [...piles[side]].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })),
  );
  const byStem = new Map(second.map((file) => [stem(file.name), file]));
  const stems = new Set(first.map((file) => stem(file.name)));
  const byName =
    stems.size === first.length && byStem.size === second.length && first.every((file) => byStem.has(stem(file.name)));
  if (byName) return { byName, pairs: first.map((file) => [file, byStem.get(stem(file.name))]), alone: [] };
  const count = Math.min(first.length, second.length);
  const alone = [...first.slice(count), ...second.slice(count)];
  return { byName, pairs: first.slice(0, count).map((file, i) => [file, second[i]]), alone };
}

function key() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function lay() {
  const { byName, pairs, alone } = paired();
  for (const side of ["before", "after"]) {
    const count = document.querySelector(`[data-pile="${side}"] .pile-count`);
    if (piles[side].length) count.textContent = fill(form.dataset.chosen, { count: piles[side].length });
  }
  body.replaceChildren();
  rows = pairs.map(([before, after], i) => {
    const row = document.getElementById("row").content.cloneNode(true).firstElementChild;
    row.querySelector(".row-number").textContent = i + 1;
    row.querySelector(".row-before").textContent = before.name;
    row.querySelector(".row-after").textContent = after.name;
    body.append(row);
    const one = { before, after, row, key: key(), state: "waiting" };
    show(one);
    return one;
  });
  document.getElementById("table").hidden = !rows.length;
  submit.disabled = !rows.length;
  if (!rows.length) return;
  const left = alone.length ? ` ${fill(form.dataset.alone, { names: alone.map((file) => file.name).join("、") })}` : "";
  rule.textContent = fill(byName ? form.dataset.byName : form.dataset.byOrder, { count: rows.length }) + left;
}

function show(one, why = "") {
  const badge = one.row.querySelector(".badge");
  badge.textContent = words[one.state.replace(/_(.)/g, (_, letter) => letter.toUpperCase())];
  badge.dataset.verdict = one.state;
  one.row.querySelector(".row-why").textContent = why;
  const over = rows.filter((each) => ["new", "remaining", "clear", "not_comparable", "failed", "refused"].includes(each.state));
  document.getElementById("done").textContent = rows.length
    ? fill(form.dataset.progress, { done: over.length, total: rows.length })
    : "";
  document.getElementById("csv").hidden = !over.length;
}

function finish(one, pair) {
  one.pair = pair;
  one.state = pair.status === "done" ? pair.report.verdict.kind : pair.status;
  if (pair.status === "done") {
    for (const [kind, total] of Object.entries(pair.report.totals)) {
      const area = total.area_m2 === null ? fill(words.places, { count: total.count }) : fill(words.area, { area: number.format(total.area_m2) });
      one.row.querySelector(`.row-${kind}`).textContent = total.count ? area : "–";
    }
  }
  one.why = pair.report?.verdict.reasons.map((reason) => reason.text).join(" ") ?? "";
  show(one, one.why);
}

async function send(one) {
  const upload = new FormData();
  upload.append("before", one.before, one.before.name);
  upload.append("after", one.after, one.after.name);
  upload.append("kind", form.elements.kind.value);
  if (form.elements.gsd.value && form.elements.kind.value !== "photos") upload.append("gsd", form.elements.gsd.value);
  one.state = "sending";
  show(one);
  const headers = { "Idempotency-Key": one.key, "Accept-Language": document.documentElement.lang };
  const response = await fetch("/api/v1/pairs", { method: "POST", body: upload, headers });
  const answer = await response.json();
  if (!response.ok) {
    one.state = "refused";
    one.why = `${answer.detail} ${answer.remedy ?? ""}`;
    show(one, one.why);
    return;
  }
  const link = one.row.querySelector(".row-open");
  link.href = `/pairs/${answer.id}`;
  link.hidden = false;
  one.id = answer.id;
  await follow(one);
}

async function follow(one) {
  for (;;) {
    const pair = await (
      await fetch(`/api/v1/pairs/${one.id}`, { headers: { "Accept-Language": document.documentElement.lang } })
    ).json();
    if (pair.status === "done" || pair.status === "failed") return finish(one, pair);
    one.state = pair.status;
    show(one);
    await new Promise((resolve) => setTimeout(resolve, 700));
  }
}

// A lost connection is tried again: the key makes sure that nothing is compared twice.
async function work(queue) {
  for (let one = queue.shift(); one; one = queue.shift()) {
    if (Math.max(one.before.size, one.after.size) > Number(form.dataset.maxBytes)) {
      one.state = "refused";
      one.why = form.dataset.tooLarge;
      show(one, one.why);
      continue;
    }
    for (let delay = 2000; ; delay = Math.min(2 * delay, 30000)) {
      try {
        await (one.id ? follow(one) : send(one));
        break;
      } catch {
        show(one, form.dataset.offline);
        await new Promise((resolve) => setTimeout(resolve, delay));
      }
    }
  }
}

function csv() {
  const quote = (value) => `"${String(value ?? "").replaceAll('"', '""').replace(/^([=+\-@])/, "'$1")}"`;
  const lines = rows.map((one) => {
    const report = one.pair?.report;
    const areas = ["new", "remaining", "removed"].map((kind) => report?.totals[kind].area_m2 ?? report?.totals[kind].count);
    const badge = one.row.querySelector(".badge").textContent;
    return [one.before.name, one.after.name, badge, one.why, ...areas, report?.verdict.observed_share, one.id].map(quote).join(",");
  });
  const text = `\ufeff${words.header.split("|").map(quote).join(",")}\r\n${lines.join("\r\n")}\r\n`;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = "jingdi-batch.csv";
  link.click();
  URL.revokeObjectURL(link.href);
}

for (const pile of document.querySelectorAll(".pile")) {
  const input = pile.querySelector("input");
  const put = (files) => {
    if (sending) return;
    piles[pile.dataset.pile] = [...files];
    lay();
  };
  input.addEventListener("change", () => {
    put(input.files);
    input.value = "";
  });
  pile.addEventListener("dragover", () => pile.classList.add("over"));
  for (const end of ["dragleave", "drop"]) pile.addEventListener(end, () => pile.classList.remove("over"));
  pile.addEventListener("drop", (event) => put(event.dataTransfer.files));
}

for (const type of ["dragover", "drop"]) window.addEventListener(type, (event) => event.preventDefault());
window.addEventListener("beforeunload", (event) => {
  if (sending) event.preventDefault();
});
document.getElementById("csv").addEventListener("click", csv);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  sending = submit.disabled = true;
  const queue = [...rows];
  await Promise.all(Array.from({ length: AT_ONCE }, () => work(queue)));
  sending = false;
});
