import { App, crontab } from "lovage";

export const app = new App("periodic");

export const tick = app.task("periodic.tick", (text: string) => text);

app.conf.beat_schedule = {
  "every-second": { task: tick.name, schedule: 1, args: ["tick"] },
  "at-four": { task: tick.name, schedule: crontab({ hour: 4, minute: 0 }), args: ["good morning"] },
};
