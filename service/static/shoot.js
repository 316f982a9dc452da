// The earlier photograph as a ghost over the live camera, so that the second is taken from where the first was.

const shoot = document.getElementById("shoot");
const finder = shoot.querySelector(".viewfinder");
const [video, still, ghost] = ["video", ".still", ".ghost"].map((name) => finder.querySelector(name));
const [start, shutter, again, use] = [".start", ".shutter", ".again", ".use"].map((name) => shoot.querySelector(name));
const opacity = shoot.querySelector(".opacity");
const withGrid = shoot.querySelector(".with-grid");
const file = shoot.querySelector(".fallback input");
const problem = document.getElementById("problem");
const JPEG_QUALITY = 0.92;

let taken = null;

function note(name) {
  for (const each of shoot.querySelectorAll(".note")) each.hidden = each.dataset.note !== name;
}

function complain(text) {
  problem.textContent = text;
  problem.hidden = !text;
}

// off: no camera; live: the camera's view; held: what was taken, to be used or taken again
function enter(state) {
  finder.dataset.state = state;
  start.hidden = state !== "off";
  shutter.hidden = state !== "live";
  again.hidden = use.hidden = still.hidden = state !== "held";
}

function aid() {
  ghost.style.opacity = `${opacity.value}%`;
  finder.classList.toggle("gridless", !withGrid.checked);
}

async function open() {
  complain("");
  // Browsers hand out the camera on https and on this machine itself only.
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) {
    note("insecure");
    return;
  }
  try {
    const size = { width: { ideal: 3840 }, height: { ideal: 2160 } };
    video.srcObject = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { facingMode: { ideal: "environment" }, ...size },
    });
    await video.play();
  } catch {
    note("denied");
    return;
  }
  note(null);
  enter("live");
}

function close() {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
}

function hold() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob(
    (blob) => {
      const now = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
      taken = new File([blob], `${now}.jpg`, { type: "image/jpeg" });
      URL.revokeObjectURL(still.src);
      still.src = URL.createObjectURL(taken);
      enter("held");
    },
    "image/jpeg",
    JPEG_QUALITY,
  );
}

async function send(picture) {
  complain("");
  if (picture.size > Number(shoot.dataset.maxBytes)) {
    complain(shoot.dataset.tooLarge);
    return;
  }
  use.disabled = true;
  use.textContent = use.dataset.sending;
  const body = new FormData();
  body.append("after", picture, picture.name);
  try {
    const headers = { "Accept-Language": document.documentElement.lang };
    const response = await fetch(shoot.dataset.action, { method: "POST", headers, body });
    const answer = await response.json();
    if (response.ok) {
      close();
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

video.addEventListener("resize", () => {
  finder.style.setProperty("--shape", `${video.videoWidth} / ${video.videoHeight}`);
});
ghost.addEventListener("load", () => {
  if (!video.srcObject) finder.style.setProperty("--shape", `${ghost.naturalWidth} / ${ghost.naturalHeight}`);
});
if (ghost.complete && ghost.naturalWidth) ghost.dispatchEvent(new Event("load"));

start.addEventListener("click", open);
shutter.addEventListener("click", hold);
again.addEventListener("click", () => enter("live"));
use.addEventListener("click", () => send(taken));
file.addEventListener("change", () => {
  if (file.files.length) send(file.files[0]);
  file.value = "";
});
for (const control of [opacity, withGrid]) control.addEventListener("input", aid);
aid(); // a reload may keep earlier values
if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) note("insecure");
