/** The help texts of `lovage multi`. */

import { longName } from "../base/mod.ts";
import type { Options } from "./command.ts";

/** Returns the short form, which is printed on usage errors. */
export function multiUsage(options: Options): string {
  const lines = Object.entries(options).map(([key, { help }]) =>
    `    * ${`${longName(key)}:`.padEnd(14)}${help}\n`
  );
  return USAGE + lines.join("");
}

const USAGE = `usage: lovage multi start <node1 node2 nodeN|range> [worker options]
       lovage multi stop <n1 n2 nN|range> [-SIG (default: -TERM)]
       lovage multi stopwait <n1 n2 nN|range> [-SIG]
       lovage multi restart <n1 n2 nN|range> [-SIG] [worker options]
       lovage multi kill <n1 n2 nN|range>

       lovage multi show <n1 n2 nN|range> [worker options]
       lovage multi get hostname <n1 n2 nN|range> [-qv] [worker options]
       lovage multi names <n1 n2 nN|range>
       lovage multi expand template <n1 n2 nN|range>
       lovage multi systemd <n1 n2 nN|range> [worker options] [--install [DIR]]
       lovage multi systemd --uninstall [DIR]
       lovage multi help

additional options (must appear after command name):

`;

/** The long form, for `multi help`. */
export const MULTI_HELP = `A fleet of named workers on this machine.

Names
=====

    $ lovage multi start Leslie -A tasks -E         one node, Leslie@HOST
    $ lovage multi start 3 -A tasks -c 3            celery1, celery2 and celery3, three slots each
    $ lovage multi start 3 --range-prefix=w         w1, w2 and w3
    $ lovage multi start image video data -c 3      three named ones
    $ lovage multi start 2 --hostname=w.example.com -c 3
    $ lovage multi start foo@w.example.com bar@%h   whole node names; %h is this machine

Options of single nodes
=======================

    $ lovage multi start 3 -c 3 -c:1 10             the first has ten slots
    $ lovage multi start 5 -c 3 -c:1-3 10           a range; -c:1,2,3 is the same
    $ lovage multi start image video -c:image 10    by name
    $ lovage multi start 10 -l INFO -Q:1-3 images,video -Q:4,5 data -Q default --loglevel:4,5=DEBUG
    $ lovage multi show 10 -l INFO -Q:1-3 images    what would be started

A short option takes the next word as its value unless that begins with a dash; a long option has its value after =.
Everything from -- on is passed to the worker unchanged. In values, %n is the short name, %h the whole node name, %d
the host; %i and %I are the number of the pool slot, which the worker fills in.

Starting and stopping
=====================

    $ lovage multi start 3 -A tasks --pidfile=/var/run/celery/%n.pid --logfile=/var/log/celery/%n%I.log
    $ lovage multi stop 3                           TERM, without waiting
    $ lovage multi stopwait 3 -QUIT                 another signal, and waits for the end
    $ lovage multi restart celery2                  with the options it was started with
    $ lovage multi restart celery2 -c 4             and another one on top
    $ lovage multi kill 3

\`start\` returns when every node is ready. If a node fails, its error is printed and the exit status is not 0.
--ready-timeout=SECONDS limits how long that may take (60 by default). Without --pidfile and --logfile, the files are
in /var/run/celery and /var/log/celery or, if those cannot be written, in the user's state folder.

At boot
=======

    $ lovage multi systemd 3 -A tasks -c 3              prints units for systemd
    $ lovage multi systemd 3 -A tasks -c 3 --install    writes them where systemd looks
    $ lovage multi systemd --uninstall                  removes just those

`;
