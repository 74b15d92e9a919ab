// Small helps beside fields: showing a password, copying a key. Without JavaScript they are not there.

for (const box of document.querySelectorAll(".reveal")) {
  box.closest("label").hidden = false;
  box.addEventListener("change", () => {
    document.getElementById(box.dataset.field).type = box.checked ? "text" : "password";
  });
}

for (const button of document.querySelectorAll(".copy")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.from).textContent);
    button.textContent = button.dataset.done;
  });
}
