// Small helps beside fields: showing a password, copying a text. Without JavaScript they are not there.

for (const button of document.querySelectorAll(".reveal")) {
  const field = document.getElementById(button.dataset.field);
  const label = button.querySelector("span");
  const show = label.textContent;
  button.hidden = false;
  button.addEventListener("click", () => {
    const seen = field.type === "password";
    field.type = seen ? "text" : "password";
    label.textContent = seen ? button.dataset.hide : show;
    field.focus();
  });
  // It is sent as a password, so that browsers offer to keep it and do not offer it again as a text.
  field.form?.addEventListener("submit", () => (field.type = "password"));
}

for (const button of document.querySelectorAll(".copy")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.from);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = button.dataset.done;
    } catch {
      // The browser does not allow it: the text is shown and chosen, for the keyboard to copy.
      source.closest("details")?.setAttribute("open", "");
      getSelection().selectAllChildren(source);
    }
  });
}
