// Writes the page's script with all it imports to one file: node bundle.mjs FILE.

import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

const entry = fileURLToPath(new URL("apollo.mjs", import.meta.url));
buildSync({ entryPoints: [entry], bundle: true, format: "esm", outfile: process.argv[2], logLevel: "error" });
