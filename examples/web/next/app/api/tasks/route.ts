/** `GET /api/tasks?x=2&y=3` waits for the sum; `POST /api/tasks` starts a report and returns its id. */

import { app } from "../../shop.ts";

/** Tasks are sent by Node's sockets, which the edge runtime does not have. */
export const runtime = "nodejs";
export const dynamic = "force-dynamic";

export async function GET(request: Request): Promise<Response> {
  const query = new URL(request.url).searchParams;
  const result = await app.sendTask<number>("shop.add", { args: [Number(query.get("x")), Number(query.get("y"))] });
  return Response.json({ sum: await result.get({ timeout: 10 }) });
}

export async function POST(request: Request): Promise<Response> {
  const { title } = await request.json() as { title: string };
  const { id } = await app.sendTask("shop.report", { args: [title] });
  return Response.json({ id }, { status: 202 });
}
