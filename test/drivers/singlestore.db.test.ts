import { testDestination } from './destination-suite.ts';
import { PLACES, startPlace } from './singlestore-fixture.ts';

for (const name of PLACES) testDestination(name, () => startPlace(name));
