/*
 * Floating-point work: matrix product, planets, a fractal, a power iteration, a filter in single precision, division
 * and square root. Checksums take every bit of the results: rounding is part of the answer.
 */
#include "bench.h"

#include <math.h>

enum { N = 64 };

static double a[N][N], b[N][N], c[N][N];

/* c += a * b with double-precision multiply-add, 64 by 64. */
static uint64_t dgemm(uint64_t count)
{
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++) {
			a[i][j] = (i + 1) / (double)(j + 3);
			b[i][j] = (i - j) / 7.0;
			c[i][j] = 0;
		}
	for (uint64_t n = 0; n < count; n++)
		for (int i = 0; i < N; i++)
			for (int k = 0; k < N; k++) {
				double factor = a[i][k];
				for (int j = 0; j < N; j++)
					c[i][j] += factor * b[k][j];
			}
	uint64_t sum = 0;
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++)
			sum = fold(sum, bits_of(c[i][j]));
	return sum;
}

struct body {
	double at[3], speed[3], mass;
};

/* Five bodies that attract each other. */
static uint64_t nbody(uint64_t count)
{
	struct body bodies[5];
	for (int i = 0; i < 5; i++)
		bodies[i] = (struct body){
			{i * 3.1 + 0.5, 2.0 - i * 1.7, (i - 2) * 0.9},
			{0.1 * i, 0.7 / (i + 1), -0.05 * i},
			i == 0 ? 39.5 : 0.04 / i,
		};
	for (uint64_t n = 0; n < count; n++) {
		for (int i = 0; i < 5; i++)
			for (int j = i + 1; j < 5; j++) {
				double d[3], square = 0.01;
				for (int k = 0; k < 3; k++) {
					d[k] = bodies[i].at[k] - bodies[j].at[k];
					square += d[k] * d[k];
				}
				double magnitude = 0.001 / (square * sqrt(square));
				for (int k = 0; k < 3; k++) {
					bodies[i].speed[k] -= d[k] * bodies[j].mass * magnitude;
					bodies[j].speed[k] += d[k] * bodies[i].mass * magnitude;
				}
			}
		for (int i = 0; i < 5; i++)
			for (int k = 0; k < 3; k++)
				bodies[i].at[k] += 0.001 * bodies[i].speed[k];
	}
	uint64_t sum = 0;
	for (int i = 0; i < 5; i++)
		for (int k = 0; k < 3; k++)
			sum = fold(sum, bits_of(bodies[i].at[k]));
	return sum;
}

/* Points of a 128 by 128 grid, up to 50 steps each. */
static uint64_t mandelbrot(uint64_t count)
{
	uint64_t sum = 0;
	for (uint64_t n = 0; n < count; n++)
		for (int row = 0; row < 128; row++)
			for (int column = 0; column < 128; column++) {
				double cr = column / 50.0 - 2.0 + (double)n * 1e-6, ci = row / 50.0 - 1.28;
				double r = 0, i = 0, rr = 0, ii = 0;
				int steps = 0;
				for (; steps < 50 && rr + ii < 4; steps++) {
					i = 2 * r * i + ci;
					r = rr - ii + cr;
					rr = r * r;
					ii = i * i;
				}
				sum += (uint64_t)steps;
			}
	return fold(0, sum);
}

static double entry(int i, int j)
{
	return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1);
}

static void times(const double *v, double *result, int is_transposed)
{
	for (int i = 0; i < 100; i++) {
		double sum = 0;
		for (int j = 0; j < 100; j++)
			sum += (is_transposed ? entry(j, i) : entry(i, j)) * v[j];
		result[i] = sum;
	}
}

/* The largest singular value of an infinite matrix's corner: conversions from integers and divisions. */
static uint64_t spectral(uint64_t count)
{
	double u[100], v[100], t[100];
	for (int i = 0; i < 100; i++)
		u[i] = 1;
	for (uint64_t n = 0; n < count; n++) {
		times(u, t, 0);
		times(t, v, 1);
		double norm = 0;
		for (int i = 0; i < 100; i++)
			norm += v[i] * v[i];
		norm = sqrt(norm);
		for (int i = 0; i < 100; i++)
			u[i] = v[i] / norm + 1e-9 * i;
	}
	return fold(bits_of(u[0]), bits_of(u[99]));
}

/* A filter of 32 taps over single-precision samples. */
static uint64_t fir32(uint64_t count)
{
	static float samples[4096 + 32], out[4096];
	float taps[32];
	uint64_t seed = 8;
	for (int i = 0; i < 32; i++)
		taps[i] = (float)(int32_t)(next_random(&seed) >> 40) * 0x1p-26f - 0.12f;
	for (int i = 0; i < 4096 + 32; i++)
		samples[i] = (float)(int32_t)(next_random(&seed) >> 32) * 0x1p-31f;
	for (uint64_t n = 0; n < count; n++) {
		for (int i = 0; i < 4096; i++) {
			float sum = 0;
			for (int k = 0; k < 32; k++)
				sum += samples[i + k] * taps[k];
			out[i] = sum;
		}
		for (int i = 0; i < 4096; i += 64)
			samples[i] = out[i] * 0.5f;
	}
	uint64_t sum = 0;
	for (int i = 0; i < 4096; i += 7)
		sum = fold(sum, bits_of(out[i]));
	return sum;
}

/* Newton's method beside the machine's own square root: comparisons, conversions, division. */
static uint64_t roots(uint64_t count)
{
	uint64_t sum = 0;
	for (uint64_t n = 0; n < count; n++) {
		double x = (double)(n % 1000) + 1.5, root = x;
		for (int i = 0; i < 8; i++)
			root = 0.5 * (root + x / root);
		double difference = fabs(root - sqrt(x));
		sum = fold(sum, bits_of(root) + (uint64_t)(difference * 0x1p60));
	}
	return sum;
}

const struct workload workloads[] = {
	{"dgemm", dgemm, 400},
	{"nbody", nbody, 350000},
	{"mandelbrot", mandelbrot, 30},
	{"spectral", spectral, 2500},
	{"fir32", fir32, 800},
	{"roots", roots, 4000000},
	{0},
};
