// Makes volkit/viewer: viewer.html, the viewer as one page without scenes, and the licences of what is in it.
import { build } from "esbuild";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

const IN_THE_PAGE = ["three", "@sparkjsdev/spark", "fflate"];
const TARGET = "../../volkit/viewer";

const text = (path) => readFileSync(path, "utf8");
const licences = IN_THE_PAGE.map((name) => {
  const { version } = JSON.parse(text(`node_modules/${name}/package.json`));
  return `${name} ${version}\n\n${text(`node_modules/${name}/LICENSE`)}`;
}).join("\n\n");
const bundle = await build({
  entryPoints: ["main.js"], bundle: true, minify: true, format: "iife", target: "es2022",
  legalComments: "none", write: false,
});
const parts = { style: text("style.css"), script: bundle.outputFiles[0].text, licences };
// After it a script would not end where it does; esbuild itself escapes what closes one.
if (parts.script.includes("<!--")) throw new Error("the bundle begins a comment of HTML");

mkdirSync(TARGET, { recursive: true });
writeFileSync(`${TARGET}/viewer.html`, text("page.html").replace(/\{\{(\w+)\}\}/g, (_, name) => parts[name]));
writeFileSync(`${TARGET}/LICENSES.txt`, licences);
