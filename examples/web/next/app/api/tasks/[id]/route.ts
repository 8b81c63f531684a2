/** `GET /api/tasks/ID`: what has become of a task. */

import { app } from "../../../shop.ts";

export const runtime = "nodejs";

export async function GET(_request: Request, context: { params: Promise<{ id: string }> }): Promise<Response> {
  const { id } = await context.params;
  const result = app.AsyncResult(id);
  const state = await result.state();
  return Response.json(state === "SUCCESS" ? { id, state, result: await result.get() } : { id, state });
}
