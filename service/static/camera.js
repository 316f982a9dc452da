// The earlier photograph as a ghost over the live camera, so that the second is taken from where the first was.

const JPEG_QUALITY = 0.92;

// Enlivens the viewfinder below `root` (templates/camera.html). `use` gets the photograph that was taken or chosen.
export class Camera {
  constructor(root, use) {
    this.root = root;
    this.finder = root.querySelector(".viewfinder");
    [this.video, this.still, this.ghost] = ["video", ".still", ".ghost"].map((name) => this.finder.querySelector(name));
    [this.start, this.shutter, this.again, this.using] = [".start", ".shutter", ".again", ".use"].map((name) =>
      root.querySelector(name),
    );
    this.opacity = root.querySelector(".opacity");
    this.withGrid = root.querySelector(".with-grid");
    const file = root.querySelector(".fallback input");
    this.taken = null;

    this.video.addEventListener("resize", () => this.shape(this.video.videoWidth, this.video.videoHeight));
    this.ghost.addEventListener("load", () => {
      if (!this.video.srcObject) this.shape(this.ghost.naturalWidth, this.ghost.naturalHeight);
    });
    if (this.ghost.complete && this.ghost.naturalWidth) this.ghost.dispatchEvent(new Event("load"));
    this.start.addEventListener("click", () => this.open());
    this.shutter.addEventListener("click", () => this.hold());
    this.again.addEventListener("click", () => this.enter("live"));
    this.using.addEventListener("click", () => use(this.taken));
    file.addEventListener("change", () => {
      if (file.files.length) use(file.files[0]);
      file.value = "";
    });
    for (const control of [this.opacity, this.withGrid]) control.addEventListener("input", () => this.aid());
    this.aid(); // a reload may keep earlier values
    if (!this.possible) this.note("insecure");
  }

  // Browsers hand out the camera on https and on this machine itself only.
  get possible() {
    return window.isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia);
  }

  note(name) {
    for (const each of this.root.querySelectorAll(".note")) each.hidden = each.dataset.note !== name;
  }

  shape(width, height) {
    this.finder.style.setProperty("--shape", `${width} / ${height}`);
  }

  // off: no camera; live: the camera's view; held: what was taken, to be used or taken again
  enter(state) {
    this.finder.dataset.state = state;
    this.start.hidden = state !== "off";
    this.shutter.hidden = state !== "live";
    this.again.hidden = this.using.hidden = this.still.hidden = state !== "held";
  }

  aid() {
    this.ghost.style.opacity = `${this.opacity.value}%`;
    this.finder.classList.toggle("gridless", !this.withGrid.checked);
  }

  async open() {
    if (!this.possible) {
      this.note("insecure");
      return;
    }
    try {
      const size = { width: { ideal: 3840 }, height: { ideal: 2160 } };
      this.video.srcObject = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: { facingMode: { ideal: "environment" }, ...size },
      });
      await this.video.play();
    } catch {
      this.note("denied");
      return;
    }
    this.note(null);
    this.enter("live");
  }

  close() {
    for (const track of this.video.srcObject?.getTracks() ?? []) track.stop();
    this.video.srcObject = null;
    this.enter("off");
  }

  hold() {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [this.video.videoWidth, this.video.videoHeight];
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    canvas.toBlob(
      (blob) => {
        const now = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
        this.taken = new File([blob], `${now}.jpg`, { type: "image/jpeg" });
        URL.revokeObjectURL(this.still.src);
        this.still.src = URL.createObjectURL(this.taken);
        this.enter("held");
      },
      "image/jpeg",
      JPEG_QUALITY,
    );
  }
}
