"""Python Celery's side of the bench: the worker's app, and a client that times idle round trips."""
import os
import sys
import time

from celery import Celery

app = Celery("bench", broker=os.environ.get("BENCH_BROKER") or os.environ["BENCH_REDIS"], backend=os.environ["BENCH_REDIS"])


@app.task(name="bench.add")
def add(x, y):
    return x + y


if __name__ == "__main__":
    times = []
    for n in range(-500, int(sys.argv[1])):
        began = time.perf_counter()
        assert add.delay(n, 1).get(timeout=10) == n + 1
        if n >= 0:
            times.append((time.perf_counter() - began) * 1000)
        time.sleep(0.005)
    times.sort()
    print(times[len(times) // 2])
