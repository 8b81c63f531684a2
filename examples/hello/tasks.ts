import { App } from "lovage";

export const app = new App("hello");

export const greet = app.task("hello.greet", (name: string) => `Hello, ${name}`);
