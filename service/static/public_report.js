// The report form works without this. It fills in where the reporter stands, when asked, and sends once.

const form = document.querySelector(".report-form");
const locate = document.querySelector("#locate");
const located = document.querySelector("#located");

if ("geolocation" in navigator && window.isSecureContext) {
  locate.closest("p").hidden = false;
  locate.addEventListener("click", () => {
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => {
        form.lon.value = coords.longitude.toFixed(5);
        form.lat.value = coords.latitude.toFixed(5);
        form.crs.value = "WGS-84"; // as the Geolocation standard has it
        located.textContent = located.dataset.done;
      },
      () => {
        located.textContent = located.dataset.failed;
      },
      { enableHighAccuracy: true, timeout: 15000 },
    );
  });
}

form.addEventListener("submit", () => {
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  // Whoever comes back by the history finds the form usable.
  window.addEventListener("pageshow", () => (button.disabled = false), { once: true });
});
