/**
 * Debian's stock kernel on our machine, with one hart and with four: a session through the agent and at the serial
 * console, over the network both ways, to a clean end. The subtests of a boot share it and come in order.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { fetchPackages, sha256OfFile } from '../../src/host/debian/index.ts';
import type { GuestImage } from '../../src/host/images/index.ts';
import { requires } from '../capability.ts';
import { freePort } from './free-port.testing.ts';
import { debianImage, Guest } from './guest.testing.ts';

const prompt = /root@kage:~# /;

/** Bytes that no compression and no luck would get right. */
function noise(bytes: number): Buffer {
  const out = Buffer.alloc(bytes);
  for (let i = 0, x = 0x9e3779b9; i < bytes; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    out[i] = x >>> 24;
  }
  return out;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

test('the kernel is the one that the signed lists of Debian name', requires('apt'), async () => {
  const { manifest, kernel } = await debianImage();
  const name = `linux-image-${manifest.kernel.version}`;
  const row = manifest.packages.find((one) => one.name === name);
  assert.ok(row, `the manifest names ${name}`);
  const { files } = await fetchPackages({
    suite: manifest.suite,
    architecture: manifest.architecture,
    packages: [`${name}=${row.version}`],
  });
  assert.equal(row.sha256, files[0]?.sha256);
  assert.equal(await sha256OfFile(kernel), manifest.kernel.sha256);
});

for (const harts of [1, 4]) {
  describe(`Debian's stock kernel with ${harts} ${harts === 1 ? 'hart' : 'harts'}`, requires('apt'), () => {
    const page = noise(1 << 20);
    let image: GuestImage;
    let guest: Guest;
    let server: Server;
    let published: number;

    before(async () => {
      image = await debianImage();
      server = createServer((request, response) => {
        if (request.url === '/page') response.end(page);
        else response.writeHead(404).end();
      }).listen(0, '127.0.0.1');
      await new Promise((resolve) => server.once('listening', resolve));
      published = await freePort();
      guest = await Guest.start({
        kernel: image.kernel,
        initrd: image.initrd,
        append: image.commandLine,
        cpus: harts,
        publish: [`127.0.0.1:${published}:80`],
      });
    });

    after(async () => {
      await guest?.machine.kill();
      server?.close();
      server?.closeAllConnections();
    });

    test('boots to a shell', async () => {
      await guest.machine.ready();
      const uname = await guest.run('uname -srm; nproc');
      assert.equal(uname.stdout, `Linux ${image.manifest.kernel.version} riscv64\n${harts}\n`);
      await guest.shows(prompt);
    });

    test('files', async () => {
      const ran = await guest.run(
        [
          'set -e; mkdir -p /tmp/a/b; cd /tmp/a; seq 1 5000 > b/numbers; cp b/numbers copy; cmp b/numbers copy',
          'mv copy b/moved; ln -s b/moved link; sha256sum < link; chmod 640 b/moved; stat -c "%a %s" b/moved',
          'rm -r b; ls; cat link',
        ].join('; '),
      );
      const numbers = Array.from({ length: 5000 }, (_, i) => `${i + 1}\n`).join('');
      assert.equal(ran.stdout, `${sha256(Buffer.from(numbers))}  -\n640 ${numbers.length}\nlink\n`);
      assert.match(ran.stderr, /link.*No such file/);
      assert.equal(ran.code, 1);
    });

    test('pipes, exit codes, signals, stderr apart', async () => {
      const piped = await guest.run('seq 1 1000 | grep 7 | sort -rn | head -2 | tr 79 ab; echo apart >&2; exit 7');
      assert.deepEqual(piped, { code: 7, stdout: 'bba\nb8a\n', stderr: 'apart\n' });
      assert.equal((await guest.run('kill -TERM $$')).code, 128 + 15);
      const placed = await guest.run('echo "$PLACE in $PWD"', {
        environment: { PLACE: "it's" },
        workingFolder: '/tmp',
      });
      assert.deepEqual(placed, { code: 0, stdout: "it's in /tmp\n", stderr: '' });
    });

    test('two megabytes in and out again', async () => {
      const sent = noise(2 << 20);
      const { code, stdout, stderr } = await guest.machine.exec(
        ['sh', '-c', 'tee /tmp/in | sha256sum >&2; cat /tmp/in; rm /tmp/in'],
        { stdin: sent },
      );
      assert.equal(Buffer.from(stderr).toString(), `${sha256(sent)}  -\n`);
      assert.equal(sha256(stdout), sha256(sent));
      assert.equal(code, 0);
    });

    test('a download from a server on the host', async () => {
      const { port } = server.address() as AddressInfo;
      const got = await guest.run(`wget -q -O - http://10.0.2.2:${port}/page | sha256sum`);
      assert.deepEqual(got, { code: 0, stdout: `${sha256(page)}  -\n`, stderr: '' });
      const none = await guest.run(`wget -q -O - http://10.0.2.2:${port}/nothing`);
      assert.match(none.stderr, /404/);
      assert.equal(none.code, 1);
    });

    test('a published port is reached from the host', async () => {
      const started = await guest.run('mkdir /tmp/www; seq 1 20000 > /tmp/www/numbers; httpd -p 80 -h /tmp/www');
      assert.equal(started.code, 0, started.stderr);
      const response = await fetch(`http://127.0.0.1:${published}/numbers`);
      assert.equal(response.status, 200);
      assert.equal(await response.text(), (await guest.run('cat /tmp/www/numbers')).stdout);
    });

    test('a shell at the console: typed, echoed, answered', async () => {
      // The quotes tell what the shell prints from what the console echoes.
      guest.type("echo typed'' and read; echo 'end'ed $?\n");
      const answer = await guest.shows(/ended 0/);
      assert.match(answer, /^typed and read\r$/m);
      await guest.shows(prompt);
    });

    /** Types the line, and now and then once more, until the console shows what it is to show. */
    const again = async (line: string, pattern: RegExp): Promise<void> => {
      guest.type(`${line}\n`);
      const timer = setInterval(() => guest.type(`${line}\n`), 3000);
      await guest.shows(pattern).finally(() => clearInterval(timer));
    };

    test('job control at the console', async () => {
      guest.type('sleep 1000 & jobs\n');
      await guest.shows(/\[1\]\+ +Running +sleep 1000/);
      await guest.shows(prompt);
      guest.type('kill %1; wait %1; echo gone $?\n');
      await guest.shows(/gone 143/);
      // One program that speaks once it is in the foreground: keys before that would be the shell's.
      guest.type(`sh -c "echo wait''ing; exec sleep 1000"\n`);
      await guest.shows(/waiting/);
      guest.type('\x03');
      await guest.shows(prompt);
      guest.type('echo interrupted $?\n');
      await guest.shows(/interrupted 130/);
      guest.type(`sh -c "echo stop''ping; exec sleep 1000"\n`);
      await guest.shows(/stopping/);
      guest.type('\x1a');
      // A signal that comes while the shell writes, as of a child that stops, goes on or ends, makes busybox drop what it
      // had to say (seen once in a few hundred; it is alive then, and waits for input). So it is asked again.
      await again('jobs', /\[1\]\+ +Stopped/);
      guest.type('bg\n');
      await again('jobs', /\[1\]\+ +Running/);
      guest.type('kill -9 %1\n');
      await again('jobs > /tmp/jobs; echo left $(grep -c . /tmp/jobs)', /left 0/);
      await again('', prompt);
    });

    test('all harts take work', async () => {
      const ran = await guest.run(`
        ticks() { awk '/riscv-timer/ { for (i = 2; i < ${2 + harts}; i++) printf "%d ", $i }' /proc/interrupts; }
        work() { awk '/^cpu[0-9]/ { printf "%d ", $2 }' /proc/stat; }
        loops=
        for i in $(seq ${harts}); do (while :; do :; done) & loops="$loops $!"; done
        first="$(ticks) $(work)"
        for try in $(seq 1000); do
          sleep 0.1
          now="$(ticks) $(work)"
          set -- $now
          grown=0
          for was in $first; do [ $1 -lt $((was + 10)) ] || grown=$((grown + 1)); shift; done
          [ $grown -lt ${2 * harts} ] || break
        done
        kill $loops
        echo $grown of $(echo $first | wc -w); echo $first to $now >&2`);
      assert.equal(ran.stdout, `${2 * harts} of ${2 * harts}\n`, ran.stderr);
      const { vcpus } = (await guest.machine.stats()) as { vcpus: { instructions: number }[] };
      assert.equal(vcpus.length, harts);
      for (const vcpu of vcpus) assert.ok(vcpu.instructions > 1_000_000, JSON.stringify(vcpus));
    });

    test('powers off cleanly', async () => {
      if (harts === 1) guest.type('exit\n');
      else assert.deepEqual(await guest.machine.stop(), { reason: 'poweroff', code: 0 });
      assert.deepEqual(await guest.machine.exited, { reason: 'poweroff', code: 0 });
      await guest.shows(/reboot: Power down/);
    });
  });
}
