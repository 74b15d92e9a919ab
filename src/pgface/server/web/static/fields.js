// The buttons that show a password or copy a text.

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
  // Send it as a password field, so that browsers offer to save it as a password and not as a text.
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
      // The browser does not allow it: select the text, so that the keyboard can copy it.
      source.closest("details")?.setAttribute("open", "");
      getSelection().selectAllChildren(source);
    }
  });
}
