// Follows a comparison until it ends; then the same address shows the result.

const bar = document.getElementById("progress");
const now = document.getElementById("stage-now");
const stages = [...document.querySelectorAll("[data-stage]")];

function show(pair) {
  bar.value = pair.progress;
  const current = stages.findIndex((stage) => stage.dataset.stage === (pair.stage ?? "queued"));
  stages.forEach((stage, i) => {
    stage.classList.toggle("over", i < current);
    if (i === current) stage.setAttribute("aria-current", "step");
    else stage.removeAttribute("aria-current");
  });
  const text = stages[current]?.textContent ?? "";
  if (now.textContent !== text) now.textContent = text;
}

async function follow() {
  try {
    const response = await fetch(`/api/v1/pairs/${bar.dataset.pair}`);
    const pair = await response.json();
    if (!response.ok || pair.status === "done" || pair.status === "failed") {
      window.location.reload();
      return;
    }
    show(pair);
  } catch {
    // The server restarts or the network is gone for a moment: ask again.
  }
  setTimeout(follow, 400);
}

follow();
