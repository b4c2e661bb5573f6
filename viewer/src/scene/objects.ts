// How objects are drawn: as Cesium does, but surfaces that should be lit and come without normals (models of others, mostly) would be one
// flat colour there; each of their faces is shaded by its own slope. Photographs (unlit) stay as they are.

import { CustomShader } from "cesium";

/** Light comes from over the viewer's left shoulder, as for lit meshes; faces that turn away keep enough of it to show their colour. */
export function objectShader(): CustomShader {
  return new CustomShader({
    fragmentShaderText: `
      void fragmentMain(FragmentInput fsInput, inout czm_modelMaterial material) {
        #if defined(LIGHTING_PBR) && !defined(HAS_NORMALS)
        vec3 place = fsInput.attributes.positionEC;
        vec3 normal = normalize(cross(dFdx(place), dFdy(place)));
        float facing = abs(dot(normal, normalize(czm_lightDirectionEC)));
        float up = 0.5 + 0.5 * dot(normal, normalize((czm_view * vec4(normalize(czm_viewerPositionWC), 0.0)).xyz));
        material.diffuse *= 0.34 + 0.46 * facing + 0.26 * up;
        #endif
      }`,
  });
}
