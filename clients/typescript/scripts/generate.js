// Writes src/generated from the OpenAPI document: the types of bodies, and a method for each operation.

import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import { format } from "prettier";
import ts from "typescript";

const PACKAGE = new URL("../", import.meta.url);
const DOCUMENT = process.argv[2] ?? new URL("../../docs/reference/openapi.json", PACKAGE);
const GENERATED = new URL("src/generated/", PACKAGE);
const SCHEMA = "#/components/schemas/";

const text = await readFile(DOCUMENT, "utf-8");
const openapi = JSON.parse(text);
const operations = Object.entries(openapi.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), ...operation })),
);
const unnamed = {}; // schemas that the document gives no name
// A test compares the hashes, so that it needs no Node to find files that are outdated or were edited.
const sources = sha256(text + (await readFile(new URL(import.meta.url), "utf-8")));
await mkdir(GENERATED, { recursive: true });
await write("operations.ts", methods());
await write("types.ts", await types());

async function write(name, code) {
  const formatted = await format(code, { parser: "typescript", printWidth: 120 });
  const header = `// Generated from docs/reference/openapi.json by \`make typescript\`.
// SHA-256 of the document and scripts/generate.js: ${sources}
// SHA-256 of the rest of this file: ${sha256(formatted)}
`;
  await writeFile(new URL(name, GENERATED), `${header}\n${formatted}`);
}

function sha256(value) {
  return createHash("sha256").update(value).digest("hex");
}

/** The types of all schemas, and of the queries. */
async function types() {
  const schemas = plain({ ...openapi.components.schemas, ...unnamed });
  for (const operation of operations) {
    const query = parametersOf(operation, "query");
    if (query.length > 0) schemas[typeName(operation, "Query")] = schemaOfQuery(operation, query);
  }
  const ast = await openapiTS(
    { openapi: openapi.openapi, info: openapi.info, paths: {}, components: { schemas } },
    {
      rootTypes: true,
      rootTypesNoSchemaPrefix: true,
      defaultNonNullable: false, // a field with a default may be omitted in a request
      inject: 'import type { Photo } from "../photos.js";\n',
      transform: (schema) =>
        schema.contentEncoding === "base64" ? ts.factory.createTypeReferenceNode("Photo") : undefined,
    },
  );
  return astToString(ast);
}

/** A schema without its examples and titles, which say nothing that the types do not. */
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([name, one]) => name !== "examples" && !(name === "title" && isText(one)));
  return Object.fromEntries(kept.map(([name, one]) => [name, plain(one)]));
}

function isText(value) {
  return typeof value === "string"; // a field may be called `title`, and is an object
}

function schemaOfQuery(operation, query) {
  return {
    type: "object",
    description: `The query of: ${operation.summary}.`,
    properties: Object.fromEntries(
      query.map((one) => [one.name, { description: one.description, ...plain(one.schema) }]),
    ),
    required: query.filter((one) => one.required).map((one) => one.name),
  };
}

/** The class with a method for each operation, and one more for each list that has pages. */
function methods() {
  const used = new Set();
  const code = operations.map((operation) => methodOf(operation, used) + pagesOf(operation, used)).join("\n");
  const names = [...used].sort().map((name) => `${name}, `);
  return `import { type CallOptions, type CreateOptions, Sender, itemsOfPages, segment } from "../operation.js";
import type { Photo } from "../photos.js";
import type { ${names.join("")} } from "./types.js";

/** The operations of the service. */
export abstract class Operations extends Sender {
${code}
}
`;
}

function methodOf(operation, used) {
  const { path, method, requestBody } = operation;
  const [result, response, results] = resultOf(operation, used);
  const acceptsKey = parametersOf(operation, "header").some((one) => one.name === "idempotency-key");
  const fields = [
    `method: "${method}"`,
    `path: \`${path.replace(/\{(\w+)\}/g, (_, name) => `\${segment(${camel(name)})}`)}\``,
    `inGallery: ${path.startsWith("/api/v1/") && !path.startsWith("/api/v1/galleries")}`,
    `response: "${response}"`,
  ];
  if (results.length > 0) fields.push(`results: [${results}]`);
  if (acceptsKey) fields.push("acceptsKey: true");
  // The operations of the tag `faces` store nothing.
  if (method === "GET" || operation.tags.includes("faces")) fields.push("isRepeatable: true");
  if (queryArgument(operation, used)) fields.push("query: { ...query }");
  const isUpload = requestBody && !requestBody.content["application/json"];
  if (isUpload) fields.push("upload");
  else if (requestBody) {
    const photos = photosOf(schemaOf(requestBody.content["application/json"]));
    fields.push("body");
    if (photos.length > 0) fields.push(`photos: ${JSON.stringify(photos)}`);
  }
  const options = `options?: ${acceptsKey ? "CreateOptions" : "CallOptions"}`;
  const body = isUpload ? undefined : bodyArgument(operation, used);
  const upload = isUpload ? "upload?: Photo" : undefined;
  const given = [...pathArguments(operation), body, queryArgument(operation, used), upload, options];
  return `${comment(operation.description, operation)}
  ${camel(operation.operationId)}(${given.filter(Boolean).join(", ")}): Promise<${result}> {
    return this.send({ ${fields.join(", ")} }, options);
  }
`;
}

/** The method that yields the items of all pages, such as \`iterUsers\` for \`list_users\`. */
function pagesOf(operation, used) {
  if (!parametersOf(operation, "query").some((one) => one.name === "cursor")) return "";
  const schema = schemaOf(operation.responses["200"].content["application/json"]);
  const [field, list] = Object.entries(schema.properties).find(([, one]) => one.type === "array");
  const item = nameOf(list.items, used, typeName(operation, "Item"));
  const query = `query: Omit<${typeName(operation, "Query")}, "cursor"> = {}`;
  const given = [...pathArguments(operation), query, "options?: CallOptions"];
  const passed = [...pathParameters(operation), "{ ...query, ...(cursor === undefined ? {} : { cursor }) }", "options"];
  return `
${comment("Yields the items of all pages.", operation)}
  ${camel(operation.operationId.replace(/^[a-z]+_/, "iter_"))}(${given.join(", ")}): AsyncGenerator<${item}, void, undefined> {
    return itemsOfPages(async (cursor) => {
      const page = await this.${camel(operation.operationId)}(${passed.join(", ")});
      return { items: page.${field}, next: page.next_cursor };
    });
  }
`;
}

/** The type of the result, the kind of the response, and the statuses besides success that are a result. */
function resultOf(operation, used) {
  const names = new Set();
  const results = [];
  let kind = "nothing";
  for (const [status, { content = {} }] of Object.entries(operation.responses)) {
    if (content["application/json"]) {
      kind = "json";
      names.add(nameOf(content["application/json"].schema, used, typeName(operation, `Response${status}`)));
      if (Number(status) >= 300) results.push(status);
    } else if (Number(status) < 300 && Object.keys(content).length > 0) {
      kind = Object.keys(content)[0].startsWith("text/") ? "text" : "blob";
      names.add(kind === "text" ? "string" : "Blob");
    }
  }
  return [[...names].join(" | ") || "void", kind, results];
}

function pathParameters(operation) {
  return parametersOf(operation, "path").map((one) => camel(one.name));
}

function pathArguments(operation) {
  return parametersOf(operation, "path").map(
    (one) => `${camel(one.name)}: ${one.schema.type === "integer" ? "number" : "string"}`,
  );
}

function bodyArgument(operation, used) {
  const { requestBody } = operation;
  return (
    requestBody &&
    `body: ${nameOf(requestBody.content["application/json"].schema, used, typeName(operation, "Request"))}`
  );
}

function queryArgument(operation, used) {
  const query = parametersOf(operation, "query");
  if (query.length === 0) return undefined;
  used.add(typeName(operation, "Query"));
  return `query${query.some((one) => one.required) ? "" : "?"}: ${typeName(operation, "Query")}`;
}

function typeName(operation, what) {
  const name = camel(operation.operationId);
  return `${name[0].toUpperCase()}${name.slice(1)}${what}`;
}

function parametersOf(operation, place) {
  return (operation.parameters ?? []).filter((one) => one.in === place);
}

/** The name of a schema's type. A schema that the document gives no name gets this one. */
function nameOf(schema, used, nameIfUnnamed) {
  const name = schema.$ref ? schema.$ref.slice(SCHEMA.length) : nameIfUnnamed;
  if (!schema.$ref) unnamed[name] = schema;
  used.add(name);
  return name;
}

function schemaOf({ schema }) {
  return schema.$ref ? openapi.components.schemas[schema.$ref.slice(SCHEMA.length)] : schema;
}

/** The fields with a photo, or with several. */
function photosOf(schema) {
  const isPhoto = (one) => (one.items ?? one).contentEncoding === "base64" || (one.anyOf ?? []).some(isPhoto);
  return Object.entries(schema.properties).flatMap(([name, one]) => (isPhoto(one) ? [name] : []));
}

function comment(description, operation) {
  const lines = [
    `${operation.summary}.`,
    "",
    ...description.split("\n"),
    "",
    `Who may call it: ${operation["x-callers"]}.`,
  ];
  return `  /**\n${lines.map((line) => `   * ${line}`.trimEnd()).join("\n")}\n   */`;
}

function camel(name) {
  return name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
}
