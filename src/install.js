/*
 * Runs before `npm start`, `npm test` and similar scripts: installs the dependencies if they are missing or outdated, and
 * ensures that a Node version that can run this project is first on the PATH of npm scripts. Plain JavaScript without
 * dependencies, for any Node from 18.
 */
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const windows = process.platform === "win32";

/** npm records the installed packages in node_modules/.package-lock.json. */
function isInstalled() {
  const installed = join(root, "node_modules", ".package-lock.json");
  return existsSync(installed) && statSync(installed).mtimeMs >= statSync(join(root, "package-lock.json")).mtimeMs;
}

function install() {
  console.log("Installing dependencies (npm ci) …");
  const started = Date.now();
  const npm = process.env.npm_execpath;
  const options = { cwd: root, stdio: "inherit" };
  // NODE_ENV=production would omit the dependencies of the tests.
  const parameters = ["ci", "--include=dev", "--loglevel=error"];
  const result =
    npm && /\.c?js$/.test(npm)
      ? spawnSync(process.execPath, [npm, ...parameters], options)
      : spawnSync("npm", parameters, { ...options, shell: windows });
  if (result.error || result.status !== 0) {
    console.error(`error: npm ci failed${result.error ? `: ${result.error.message}` : ""}`);
    console.error(
      "hint: See the output of npm above; behind a proxy, set npm's `proxy` or `registry`. Then run this again.",
    );
    process.exit(1);
  }
  console.log(`Dependencies installed in ${((Date.now() - started) / 1000).toFixed(1)} s.`);
}

/** Node runs TypeScript without a build from version 22.18. */
function runsTypeScript(version) {
  const [major, minor] = version.replace(/^v/, "").split(".").map(Number);
  return major > 23 || (major === 23 && minor >= 6) || (major === 22 && minor >= 18);
}

function checkNode() {
  // npm puts this directory first on the PATH of its scripts.
  const own = join(root, "node_modules", ".bin", windows ? "node.cmd" : "node");
  const version = existsSync(own)
    ? spawnSync(own, ["--version"], { encoding: "utf8", shell: windows }).stdout
    : undefined;
  if (version ? runsTypeScript(version.trim()) : runsTypeScript(process.version)) return;
  console.error(
    `error: Node ${version?.trim() || process.version} is too old, and the npm package "node" did not install a newer one`,
  );
  console.error(
    "hint: Allow its install script (npm config set ignore-scripts false; rm -r node_modules), or install Node 22.18 or later.",
  );
  process.exit(1);
}

if (!isInstalled()) install();
checkNode();
