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
