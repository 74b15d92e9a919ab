// Reads the files that a user drops or chooses, with their paths in folders.

/**
 * Calls `onFiles` with `[{file, path}]` when files are dropped on an element or chosen in its inputs.
 */
export function takeFiles(element, onFiles) {
  for (const input of element.querySelectorAll("input.files")) {
    input.addEventListener("change", () => {
      const found = [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
      input.value = ""; // so that the same files can be chosen again
      if (found.length) onFiles(found);
    });
  }
  let depth = 0; // the events come for children of the element too
  const over = (change) => element.classList.toggle("over", (depth = Math.max(0, depth + change)) > 0);
  element.addEventListener("dragenter", () => over(1));
  element.addEventListener("dragleave", () => over(-1));
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", async (event) => {
    event.preventDefault();
    over(-depth);
    // Read the entries before the first `await`, because the browser clears them then.
    const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
    const dropped = items.map((item) => {
      const entry = item.webkitGetAsEntry();
      return entry?.isDirectory ? entry : item.getAsFile();
    });
    const found = (await Promise.all(dropped.map(filesOf))).flat();
    if (found.length) onFiles(found);
  });
}

// Without this, the browser leaves the page and opens a file that is dropped elsewhere.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());

async function filesOf(entry) {
  if (entry instanceof File) return [{ file: entry, path: entry.name }];
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject)).catch(() => null);
    return file ? [{ file, path: entry.fullPath.replace(/^\//, "") }] : [];
  }
  const reader = entry.createReader();
  const inside = [];
  for (;;) {
    // The reader returns a part of the entries for each call.
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)).catch(() => []);
    if (!some.length) break;
    inside.push(...some);
  }
  return (await Promise.all(inside.map(filesOf))).flat();
}
