/** The entry of a process whose machine is a fake, for tests of the daemon. It ends when its machine does. */
import { fakeCreate, noReceiver } from '../host/control/fake-machine.testing.ts';
import { ownDetachedMachine } from '../host/index.ts';

const { create, restore } = fakeCreate();
ownDetachedMachine(create, restore, noReceiver);
