// A named person says that nothing in the photographs must be kept from the public.

const form = document.getElementById("check");

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const message = form.querySelector(".message");
  const { person, no_faces, no_plates } = form.elements;
  const body = { person: person?.value, no_faces: no_faces.checked, no_plates: no_plates.checked };
  try {
    const response = await fetch(form.action, {
      method: "PUT",
      headers: { "Content-Type": "application/json", "Accept-Language": document.documentElement.lang },
      body: JSON.stringify(body),
    });
    if (response.ok) {
      window.location.reload();
      return;
    }
    const problem = await response.json();
    message.textContent = `${problem.detail} ${problem.remedy ?? ""}`;
  } catch {
    message.textContent = form.dataset.offline;
  }
  message.hidden = false;
});
