// The page that picks two dates: shows what is chosen, and says at once where it cannot be compared.

const form = document.getElementById("pick");
const warning = form.querySelector(".warning");
const submit = form.querySelector(".primary");

function chosen(side) {
  return form.querySelector(`input[name="${side}"]:checked`)?.closest("tr");
}

function show(side, row) {
  const figure = form.querySelector(`figure[data-preview="${side}"]`);
  if (!figure || !row) return;
  const picture = figure.querySelector("img");
  if (picture.getAttribute("src") !== row.dataset.preview) picture.src = row.dataset.preview;
  figure.querySelector(".when").textContent = row.dataset.date;
}

function refresh() {
  const [before, after] = ["before", "after"].map(chosen);
  show("before", before);
  show("after", after);
  for (const row of form.querySelectorAll("tbody tr")) {
    row.toggleAttribute("data-chosen", row === before || row === after);
  }
  if (!warning) return;
  let text = "";
  if (before && before === after) text = form.dataset.same;
  else if (before && after && Date.parse(before.dataset.at) > Date.parse(after.dataset.at)) text = form.dataset.wrongOrder;
  if (warning.textContent !== text) warning.textContent = text;
}

form.addEventListener("change", refresh);

// Cutting out takes a moment, and a second click would make a second pair.
form.addEventListener("submit", () => {
  const label = submit.textContent;
  submit.disabled = true;
  submit.textContent = form.dataset.sending;
  window.addEventListener("pageshow", () => {
    submit.disabled = false; // back from the result
    submit.textContent = label;
  }, { once: true });
});

form.toggleAttribute("data-on", true);
refresh();
