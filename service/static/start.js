// The start page: two places for pictures, then off to the page of the pair.

const form = document.getElementById("intake");
const problem = document.getElementById("problem");
const submit = form.querySelector(".primary");
const submitLabel = submit.textContent;
const zones = [...form.querySelectorAll(".zone")];
const files = new Map(); // zone -> File; the inputs cannot be filled from a drop on every browser

const megabytes = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 1 });

function inputOf(zone) {
  return zone.querySelector("input");
}

function complain(detail, remedy = "", side = null) {
  problem.querySelector(".problem-detail").textContent = detail;
  problem.querySelector(".problem-remedy").textContent = remedy;
  problem.hidden = false;
  for (const zone of zones) zone.classList.toggle("wrong", zone.dataset.zone === side);
}

function clearComplaint() {
  problem.hidden = true;
  for (const zone of zones) zone.classList.remove("wrong");
}

function show(zone) {
  const file = files.get(zone);
  const thumb = zone.querySelector(".zone-thumb");
  const noPreview = zone.querySelector(".zone-no-preview");
  if (thumb.src) URL.revokeObjectURL(thumb.src);
  thumb.removeAttribute("src");
  thumb.hidden = noPreview.hidden = true;
  zone.classList.toggle("filled", Boolean(file));
  zone.querySelector(".zone-file").hidden = zone.querySelector(".zone-remove").hidden = !file;
  if (!file) return;
  zone.querySelector(".zone-file-name").textContent = file.name;
  zone.querySelector(".zone-file-size").textContent = `${megabytes.format(file.size / 2 ** 20)} MB`;
  thumb.onload = () => (thumb.hidden = false);
  thumb.onerror = () => (noPreview.hidden = false); // browsers do not show TIFF
  thumb.src = URL.createObjectURL(file);
}

function put(zone, file) {
  clearComplaint();
  if (file.size > Number(form.dataset.maxBytes)) {
    complain(form.dataset.tooLarge, "", zone.dataset.zone);
    return;
  }
  files.set(zone, file);
  show(zone);
}

// One picture goes where it was dropped, two go to both places in their order.
function putAll(list, zone) {
  const pictures = [...list];
  if (pictures.length >= 2) zones.forEach((each, i) => put(each, pictures[i]));
  else if (pictures.length === 1) put(zone, pictures[0]);
}

for (const zone of zones) {
  const input = inputOf(zone);
  input.addEventListener("change", () => {
    putAll(input.files, zone);
    input.value = ""; // so that choosing the same file again counts as a change
  });
  zone.querySelector(".zone-remove").addEventListener("click", () => {
    files.delete(zone);
    clearComplaint();
    show(zone);
    input.focus();
  });
  zone.addEventListener("dragover", () => zone.classList.add("over"));
  for (const end of ["dragleave", "drop"]) zone.addEventListener(end, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => putAll(event.dataTransfer.files, zone));
}

// Without this a picture that misses its place would replace the page.
for (const type of ["dragover", "drop"]) window.addEventListener(type, (event) => event.preventDefault());

document.addEventListener("paste", (event) => {
  const pasted = event.clipboardData.files;
  if (!pasted.length) return;
  event.preventDefault();
  const focused = zones.find((zone) => zone.contains(document.activeElement));
  putAll(pasted, focused ?? zones.find((zone) => !files.has(zone)) ?? zones[1]);
});

form.querySelector(".swap").addEventListener("click", () => {
  const [first, second] = zones.map((zone) => files.get(zone));
  [second, first].forEach((file, i) => {
    if (file) files.set(zones[i], file);
    else files.delete(zones[i]);
    show(zones[i]);
  });
  clearComplaint();
});

function send(body) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how much has been sent
    request.open("POST", form.action);
    request.responseType = "json";
    request.setRequestHeader("Accept-Language", document.documentElement.lang);
    request.upload.onprogress = ({ loaded, total }) => {
      submit.textContent = `${form.dataset.sending} ${Math.floor((100 * loaded) / total)}%`;
    };
    request.onload = () => resolve({ ok: request.status === 202, answer: request.response });
    request.onerror = reject;
    request.send(body);
  });
}

// A photograph has no ground resolution.
function showFields() {
  form.querySelector('[data-field="gsd"]').hidden = form.elements.kind.value === "photos";
}

for (const radio of form.elements.kind) radio.addEventListener("change", showFields);
showFields(); // a reload may keep an earlier choice

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  clearComplaint();
  const missing = zones.find((zone) => !files.has(zone));
  if (missing) {
    complain(form.dataset.needBoth, "", missing.dataset.zone);
    return;
  }
  const body = new FormData();
  for (const zone of zones) body.append(zone.dataset.zone, files.get(zone), files.get(zone).name);
  const { gsd, kind } = form.elements;
  body.append("kind", kind.value);
  if (gsd.value && kind.value !== "photos") body.append("gsd", gsd.value);
  submit.disabled = true;
  submit.textContent = form.dataset.sending;
  try {
    const { ok, answer } = await send(body);
    if (ok) {
      window.location.assign(`/pairs/${answer.id}`);
      return;
    }
    complain(answer.detail, answer.remedy, answer.side);
  } catch {
    complain(form.dataset.offline);
  }
  submit.disabled = false;
  submit.textContent = submitLabel;
});
