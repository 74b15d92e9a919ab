import { fileAt } from "#files";

/** The file of a photo: a `File` or `Blob`, its bytes (a `Buffer` too), or in Node its path. */
export type Photo = Blob | ArrayBuffer | Uint8Array | string;

/** Return a photo as a file. Without a name of its own, it is called `photo`. */
export async function fileOf(photo: Photo): Promise<File> {
  if (typeof photo === "string") return fileAt(photo);
  if (photo instanceof Blob) return photo instanceof File ? photo : new File([photo], UNNAMED, { type: photo.type });
  return new File([photo as BlobPart], UNNAMED);
}

const UNNAMED = "photo";
