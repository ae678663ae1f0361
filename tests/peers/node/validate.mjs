// Prints what AsyncAPI's own parser finds wrong with a document: node validate.mjs FILE
import { readFile } from "node:fs/promises";
import { Parser } from "@asyncapi/parser";

const diagnostics = await new Parser().validate(await readFile(process.argv[2], "utf8"));
// That 3.1 is newer than 3.0 is no fault.
const wrong = diagnostics.filter(({ code }) => code !== "asyncapi-latest-version");
for (const { code, path, message } of wrong) console.log(`${path.join(".")}: ${message} (${code})`);
process.exit(wrong.length ? 1 : 0);
