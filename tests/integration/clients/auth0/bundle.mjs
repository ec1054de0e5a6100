// Writes a page's script with all it imports to one file: node bundle.mjs PAGE FILE.

import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

const [page, file] = process.argv.slice(2);
const entry = fileURLToPath(new URL(page, import.meta.url));
buildSync({ entryPoints: [entry], bundle: true, format: "esm", outfile: file, logLevel: "error" });
