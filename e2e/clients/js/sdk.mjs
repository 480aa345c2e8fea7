// matrix-js-sdk, and a way to be heard.
//
// The packages are installed apart from this file, so the variable CLIENT_PACKAGES names their folder.

import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

// What the SDK logs goes to stderr: on stdout stands only what a program says.
for (const level of ["debug", "info", "log", "trace", "warn"]) {
    console[level] = console.error;
}

const installed = createRequire(join(process.env.CLIENT_PACKAGES, "package.json"));
/** A module of one of the packages. */
export const load = (module) => import(pathToFileURL(installed.resolve(module)).href);

/** matrix-js-sdk. */
export const sdk = await load("matrix-js-sdk");

const { logger } = await load("matrix-js-sdk/lib/logger.js");
logger.setLevel(logger.levels.ERROR);

/** Says one thing: a line of JSON on stdout. */
export const say = (thing) => process.stdout.write(`${JSON.stringify(thing)}\n`);
