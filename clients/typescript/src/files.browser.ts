// Browsers have no file system. `imports` in package.json selects this module outside of Node.

/** Refuse a path. */
export async function fileAt(path: string): Promise<File> {
  throw new TypeError(`A browser cannot read the path ${JSON.stringify(path)}. Give a File, a Blob or bytes.`);
}
