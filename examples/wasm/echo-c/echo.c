/* A job: its result is its payload. Any C program that reads stdin and writes stdout is a job. */
#include <stdio.h>

int main(void) {
    static char buffer[64 * 1024];
    size_t bytes, total = 0;
    while ((bytes = fread(buffer, 1, sizeof buffer, stdin)) > 0) {
        if (fwrite(buffer, 1, bytes, stdout) != bytes) {
            perror("cannot write the result");
            return 75; /* EX_TEMPFAIL: try again */
        }
        total += bytes;
    }
    if (ferror(stdin) || fflush(stdout) != 0) {
        perror("cannot echo");
        return 75;
    }
    fprintf(stderr, "echoed %zu bytes\n", total);
    return 0;
}
