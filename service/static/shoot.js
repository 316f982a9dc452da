// Another later photograph for a pair: taken with the ghost of the earlier one, and sent off to be compared.

import { Camera } from "./camera.js";

const shoot = document.getElementById("shoot");
const problem = document.getElementById("problem");
const camera = new Camera(shoot, send);

function complain(text) {
  problem.textContent = text;
  problem.hidden = !text;
}

async function send(picture) {
  complain("");
  if (picture.size > Number(shoot.dataset.maxBytes)) {
    complain(shoot.dataset.tooLarge);
    return;
  }
  const use = camera.using;
  use.disabled = true;
  use.textContent = use.dataset.sending;
  const body = new FormData();
  body.append("after", picture, picture.name);
  try {
    const headers = { "Accept-Language": document.documentElement.lang };
    const response = await fetch(shoot.dataset.action, { method: "POST", headers, body });
    const answer = await response.json();
    if (response.ok) {
      camera.close();
      window.location.assign(`/pairs/${answer.id}`);
      return;
    }
    complain(`${answer.detail} ${answer.remedy ?? ""}`);
  } catch {
    complain(shoot.dataset.offline);
  }
  use.disabled = false;
  use.textContent = use.dataset.label;
}
