// Reads files in Node. `imports` in package.json selects this module.
import { readFile } from "node:fs/promises";
import { basename } from "node:path";

/** Read a file, and return its bytes under its name. */
export async function fileAt(path: string): Promise<File> {
  return new File([await readFile(path)], basename(path));
}
