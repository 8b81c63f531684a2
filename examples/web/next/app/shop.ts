/** One App for the process: Next's development server loads this file anew at each change. */

import { App } from "lovage";

const kept = globalThis as { shop?: App };

export const app: App = kept.shop ??= new App("shop");
