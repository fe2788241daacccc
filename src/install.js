/*
 * Runs before `npm start`, `npm test` and their like: installs the dependencies where they are missing or outdated, and
 * sees to it that a Node that can run this project stands first on the PATH of npm scripts. Plain JavaScript without
 * dependencies, for whatever Node (18 or later) the machine has.
 */
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const windows = process.platform === "win32";

/** npm notes in node_modules/.package-lock.json what it has installed there. */
function isInstalled() {
  const installed = join(root, "node_modules", ".package-lock.json");
  return existsSync(installed) && statSync(installed).mtimeMs >= statSync(join(root, "package-lock.json")).mtimeMs;
}

function install() {
  console.log("Installing dependencies (npm ci) …");
  const started = Date.now();
  const npm = process.env.npm_execpath;
  const options = { cwd: root, stdio: "inherit" };
  // NODE_ENV=production would leave out what the tests need.
  const parameters = ["ci", "--include=dev", "--loglevel=error"];
  const result =
    npm && /\.c?js$/.test(npm)
      ? spawnSync(process.execPath, [npm, ...parameters], options)
      : spawnSync("npm", parameters, { ...options, shell: windows });
  if (result.error || result.status !== 0) {
    console.error(`error: npm ci failed${result.error ? `: ${result.error.message}` : ""}`);
    console.error(
      "hint: Look at what npm said above; behind a proxy, set npm's `proxy` or `registry`. Then run this again.",
    );
    process.exit(1);
  }
  console.log(`Dependencies installed in ${((Date.now() - started) / 1000).toFixed(1)} s.`);
}

/** Node runs TypeScript as it is from 22.18 on. */
function runsTypeScript(version) {
  const [major, minor] = version.replace(/^v/, "").split(".").map(Number);
  return major > 23 || (major === 23 && minor >= 6) || (major === 22 && minor >= 18);
}

function checkNode() {
  // npm puts this folder first on the PATH of the scripts that follow.
  const own = join(root, "node_modules", ".bin", windows ? "node.cmd" : "node");
  const version = existsSync(own)
    ? spawnSync(own, ["--version"], { encoding: "utf8", shell: windows }).stdout
    : undefined;
  if (version ? runsTypeScript(version.trim()) : runsTypeScript(process.version)) return;
  console.error(
    `error: Node ${version?.trim() || process.version} is too old, and the npm package "node" has not brought a newer one`,
  );
  console.error(
    "hint: Allow its install script (npm config set ignore-scripts false; rm -r node_modules), or install Node 22.18 or later.",
  );
  process.exit(1);
}

if (!isInstalled()) install();
checkNode();
