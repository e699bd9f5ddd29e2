// Asks a running app from JavaScript (Node 20 or newer, or a browser): node examples/client_rest.mjs ADDRESS IMAGE
import { openAsBlob } from "node:fs";
import { basename } from "node:path";

const [address, ...images] = process.argv.slice(2);
const form = new FormData();
for (const path of images) form.append("image", await openAsBlob(path), basename(path));
const response = await fetch(`${address}/predict`, { method: "POST", body: form });
console.log(JSON.stringify(await response.json()));
process.exitCode = response.ok ? 0 : 1;
