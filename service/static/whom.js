// Who answers for a decision, where the service has no accounts and asks for a name.

export function byWhom() {
  const name = document.getElementById("name");
  return name ? { actor: { name: name.value.trim() } } : {};
}

export function named() {
  const name = document.getElementById("name");
  if (!name || name.value.trim()) return true;
  name.focus();
  return false;
}

// The name as it was given last on this machine.
export function remembered() {
  const name = document.getElementById("name");
  if (!name) return;
  name.value = localStorage.getItem("jingdi-name") ?? "";
  name.addEventListener("change", () => localStorage.setItem("jingdi-name", name.value.trim()));
}
